"""Archives of made-up files, and made-up files of the corpora."""

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

Files = Mapping[str, str | bytes]

PERSONACHAT = (
    "1 your persona: i mend clocks.\n2 tea ?\tgladly .\n3 milk ?\tno , thanks .\n"
    "1 your persona: i sing.\n2 hi .\thello .\n"
)
DAILYDIALOG = "Tea ? __eou__ Gladly . __eou__\nIs it late ? __eou__ It is . __eou__ Oh . __eou__\n"
DAILYDIALOG_ACTS = "2 1\n2 1 1\n"
QUERIES, REPLIES = "😂 the goat ate it\n", "once again .\n"
CPED = (
    "TV_ID,Dialogue_ID,Utterance_ID,Speaker,Gender,Age,Utterance\n"
    "01,01_000,01_000_000,Ann,female,young,tea?\n01,01_000,01_000_001,Bob,male,young,gladly.\n"
)
AVSD = json.dumps(
    {
        "dialogs": [
            {
                "image_id": "V1",
                "caption": "a man sits.",
                "summary": "he sits.",
                "dialog": [
                    {"question": "does he sit ?", "answer": "yes ."},
                    {"question": "why ?", "answer": "__UNDISCLOSED__"},
                ],
            }
        ]
    }
)
NLI = json.dumps(
    [
        {"sentence1": "i sing .", "sentence2": "i make music .", "label": "positive"},
        {"sentence1": "i sing .", "sentence2": "i never sing .", "label": "negative"},
    ]
)
PEOPLE = json.dumps(
    {
        "AA": {"interlocutor_id": "AA", "persona": ["i mend clocks."], "demographic_information": {"gender": "Male"}},
        "AB": {"interlocutor_id": "AB", "persona": ["i sing."], "demographic_information": {"gender": "Female"}},
    }
)


def chat_of_two(number: int) -> str:
    """Return a dialogue as RealPersonaChat has it, over several lines."""
    said = [{"utterance_id": i, "interlocutor_id": who, "text": f"line {i}"} for i, who in enumerate(("AA", "AB"))]
    found = {"dialogue_id": number, "interlocutors": ["AA", "AB"], "utterances": said}
    return json.dumps(found, indent=4)


def zipped(path: Path, files: Files) -> Path:
    """Write a zip archive."""
    path.write_bytes(zip_bytes(files))
    return path


def zip_bytes(files: Files) -> bytes:
    """Return the bytes of a zip archive."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


def tarred(path: Path, files: Files) -> Path:
    """Write a tar archive, packed if its name says so."""
    with tarfile.open(path, "w:gz" if path.suffix in (".tgz", ".gz") else "w") as archive:
        for name, text in files.items():
            content = text if isinstance(text, bytes) else text.encode()
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def convai2(path: Path) -> Path:
    """Write an archive in the shape of ConvAI2's."""
    names = ("train_self_original.txt", "valid_self_original.txt", "train_both_original.txt")
    return tarred(path, dict.fromkeys(names, PERSONACHAT))


def dailydialog(path: Path) -> Path:
    """Write an archive in the shape of DailyDialog's: the splits are archives in it."""
    files: dict[str, str | bytes] = {"ijcnlp_dailydialog/dialogues_text.txt": DAILYDIALOG * 3}
    for folder, split in (("train", "train"), ("validation", "validation"), ("test", "test")):
        inner = {
            f"{folder}/dialogues_{split}.txt": DAILYDIALOG,
            f"{folder}/dialogues_act_{split}.txt": DAILYDIALOG_ACTS,
            f"__MACOSX/{folder}/._dialogues_{split}.txt": b"\0\1",
        }
        files[f"ijcnlp_dailydialog/{folder}.zip"] = zip_bytes(inner)
    return zipped(path, files)


def real_persona_chat(path: Path) -> Path:
    """Write an archive in the shape of RealPersonaChat's repository."""
    top = "real-persona-chat-main"
    chats = {f"{top}/real_persona_chat/dialogues/0000{number}.json": chat_of_two(number) for number in (1, 2, 3)}
    others = {f"{top}/llm_dialogue_system/prompts.json": "{}", f"{top}/README.md": "# read"}
    return zipped(path, {**others, **chats, f"{top}/real_persona_chat/interlocutors.json": PEOPLE})
