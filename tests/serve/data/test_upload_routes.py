"""A file that is sent is kept whole or not at all, shown as it will be read, and refused where it could do harm."""

import io
import json
import os
import pickle
import stat
import tarfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_app import Server, serving

from menura.artefacts import persona_store
from menura.artefacts.persona_artefact import ABOUT, WEIGHTS
from menura.corpus.chats.cards.writing import card_json, card_png, new_card
from menura.serve.database import persona_owners
from menura.serve.file_kinds import kind_of
from menura.serve.routes import uploads as upload_routes
from menura.serve.settings import HttpLimits, ServerSettings
from menura.serve.uploads import discard_old, find_upload, shown_name

CHAT = "\n".join(
    f"12/{day}/23, 7:0{minute} PM - {who}: {text}"
    for day in range(1, 5)
    for minute, (who, text) in enumerate([("Ines", "and the fern?"), ("Tomo", "it thrives"), ("Ines", "call 555-0100")])
)


class Harm:
    """What a pickle would run."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.canary}",)


@pytest.fixture
def server(empty_workspace: Path) -> Iterator[Server]:
    with serving() as made:
        yield made


def sent(server: Server, content: bytes, filename: str = "WhatsApp Chat with Tomo.txt", **headers: str) -> Any:
    url = "/api/uploads"
    return server.as_().post(url, content=content, params={"filename": filename}, headers=headers)


def test_an_upload_is_answered_with_what_it_holds(server: Server, empty_workspace: Path) -> None:
    answer = sent(server, CHAT.encode())
    assert answer.status_code == 201
    shown = answer.json()["preview"]
    (file,) = shown["files"]
    assert (file["format"], file["dialogues"], file["name"]) == ("whatsapp", 4, "WhatsApp Chat with Tomo.txt")
    counted = {one["name"]: (one["turns"], one["replies"], one["dialogues"]) for one in shown["speakers"]}
    assert counted == {"Tomo": (4, 4, 4), "Ines": (8, 4, 4)}
    assert shown["suggested"] == {"speaker": "Tomo", "name": "tomo"}
    assert [turn["text"] for turn in shown["dialogues"][0]] == ["and the fern?", "it thrives", "call 555-0100"]
    assert shown["errors"] == 0
    assert str(empty_workspace) not in answer.text


def test_a_pasted_text_is_read_like_a_file(server: Server) -> None:
    answer = server.as_().post("/api/uploads", content=b"Ann: hi\nBob: ho\n\nAnn: so\nBob: oh\n",
                               headers={"content-type": "text/plain"})  # fmt: skip
    shown = answer.json()
    assert shown["filename"] == "pasted.txt"
    assert [one["name"] for one in shown["preview"]["speakers"]] == ["Bob", "Ann"]


def test_what_is_wrong_has_its_line(server: Server) -> None:
    lines = ['{"turns": [{"speaker": "a", "text": "x"}, {"speaker": "b", "text": "y"}]}', "{broken"]
    shown = sent(server, "\n".join(lines).encode(), "talk.jsonl").json()["preview"]
    problem = shown["problems"][0]
    assert (problem["code"], problem["line"], problem["file"]) == ("jsonl_syntax", 2, "talk.jsonl")
    assert shown["errors"] == 1


def test_a_file_is_read_again_with_other_options(server: Server) -> None:
    upload = sent(server, CHAT.encode()).json()["id"]
    url = f"/api/uploads/{upload}/preview"
    once = server.as_().get(url, params={"gap": "90h"}).json()
    assert once["files"][0]["dialogues"] == 1
    other = server.as_().get(url, params={"same": ["Tomo=Ines"]}).json()
    assert other["errors"]
    assert server.as_().get(url, params={"gap": "soon"}).json()["code"] == "config"
    assert server.as_().get(url, params={"dry": "1"}).status_code == 422


def test_a_large_file_is_read_by_a_process_of_its_own(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_routes, "AT_ONCE", 10)
    shown = sent(server, CHAT.encode()).json()["preview"]
    assert shown["files"][0]["dialogues"] == 4
    assert shown["suggested"]["speaker"] == "Tomo"


def test_a_body_beyond_the_limit_leaves_nothing(empty_workspace: Path) -> None:
    limits = replace(HttpLimits(), upload_bytes=1000, paste_bytes=100)
    with serving(replace(ServerSettings(), http=limits)) as server:
        answer = sent(server, b"a" * 1001)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert sent(server, b"a: b\nb: c\n" * 20, **{"content-type": "text/plain"}).status_code == 413
        assert sent(server, b"a: b\nb: c\n" * 20).status_code == 201
        assert sent(server, b"").json()["code"] == "empty"
    assert len(list((empty_workspace / "uploads").iterdir())) == 1


def test_an_upload_is_the_owners_alone_on_the_disk_too(server: Server, empty_workspace: Path) -> None:
    upload = find_upload(sent(server, CHAT.encode()).json()["id"], "")
    assert stat.S_IMODE(upload.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(upload.folder.stat().st_mode) == 0o700
    assert server.as_("anna").get(f"/api/uploads/{upload.id}/preview").status_code == 404
    assert server.as_("anna").delete(f"/api/uploads/{upload.id}").status_code == 204
    assert upload.path.exists()
    assert server.as_().delete(f"/api/uploads/{upload.id}").status_code == 204
    assert server.as_().delete(f"/api/uploads/{upload.id}").status_code == 204
    assert not upload.folder.exists()


def test_an_upload_goes_after_a_day(server: Server) -> None:
    upload = find_upload(sent(server, CHAT.encode()).json()["id"], "")
    discard_old(time.time() + 80_000)
    assert upload.folder.exists()
    discard_old(time.time() + 90_000)
    assert not upload.folder.exists()


def test_so_many_uploads_may_wait(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("menura.serve.uploads.UPLOADS_PER_OWNER", 2)
    codes = [sent(server, CHAT.encode()).status_code for _ in range(3)]
    assert codes == [201, 201, 429]
    assert server.as_("anna").post("/api/uploads", content=b"a: b").status_code == 201


@pytest.mark.parametrize(
    ("filename", "shown"),
    [("../../x.txt", "x.txt"), ("C:\\a\\b.txt", "b.txt"), ("..", "chat.txt"), ("a\0\n\u202eb.txt", "ab.txt")],
)
def test_a_name_is_shown_without_folders_and_control_characters(filename: str, shown: str) -> None:
    assert shown_name(filename) == shown


def pickles(folder: Path) -> dict[str, bytes]:
    """Return files that would run code where they are read, by what they are called."""
    harm, canary = Harm(folder / "canary"), folder / "canary"
    found = {f"protocol{number}": pickle.dumps(harm, protocol=number) for number in range(6)}
    found["stack_global"] = b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x05touch\x85R."
    found["global"] = f"cos\nsystem\n(S'touch {canary}'\ntR.".encode()
    array = io.BytesIO()
    np.save(array, np.array([harm], dtype=object), allow_pickle=True)
    found["array"] = array.getvalue()
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(harm))
    found["torch"] = zipped.getvalue()
    tarred = io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("pickle"), io.BytesIO(b""))
    found["legacy_tar"] = tarred.getvalue()
    peft = io.BytesIO()
    with zipfile.ZipFile(peft, "w") as archive:
        archive.writestr("adapter_config.json", "{}")
        archive.writestr("adapter_model.bin", pickle.dumps(harm))
    found["peft_bin"] = peft.getvalue()
    return found


@pytest.mark.parametrize("ending", [".pt", ".safetensors", ".persona", ".charx", ".json", ""])
def test_no_pickle_is_read_whatever_it_is_called(server: Server, tmp_path: Path, ending: str) -> None:
    for name, content in pickles(tmp_path).items():
        url = "/api/personas/import"
        answer = server.as_().post(url, content=content, params={"name": "anna", "filename": f"{name}{ending}"})
        assert (answer.status_code, answer.json()["code"]) == (415, "unsafe_format"), name
    assert not (tmp_path / "canary").exists()
    assert persona_store.names() == []
    assert not list((tmp_path / "uploads").iterdir())


@pytest.mark.parametrize("ending", [".pt", ".pth", ".bin", ".pkl", ".ckpt", ".npy", ".joblib"])
def test_a_name_that_pickles_have_is_refused_whatever_it_holds(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"Ann: hi\nBob: ho\n")
    assert kind_of(path, "chat.txt") == "chat"
    with pytest.raises(Exception, match="pickle files can run code"):
        kind_of(path, f"chat{ending}")


def zip_of(**members: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return made.getvalue()


def about(**changes: Any) -> bytes:
    said = {"schema": 3, "name": "x", "base_sha256": "0" * 64, "start_sha256": "", "weights_sha256": ""}
    said |= {"model": {"name": "causal_lm", "base": "tiny"}, "facts": [], "recipe": {}}
    return json.dumps({**said, **changes}).encode()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "statuses"),
    [
        (zip_of(**{ABOUT: about(model={"name": "causal_lm", "base": "/etc"})}), (409,)),
        (zip_of(**{ABOUT: about(model={"name": "causal_lm", "base": "someone/model"})}), (409,)),
        (zip_of(**{ABOUT: about(model={"name": "causal_lm", "base": "tiny", "init_from": "/etc/x"})}), (409,)),
        (zip_of(**{ABOUT: about(), WEIGHTS: b"\0" * (80 << 20)}), (413,)),
        (zip_of(**{ABOUT: b"{" * 100}), (409,)),
        (b"PK\x03\x04broken", (422,)),
    ],
    ids=["path", "hub", "start", "bomb", "syntax", "zip"],
)
def test_a_package_that_could_do_harm_is_refused(
    server: Server, empty_workspace: Path, content: bytes, statuses: tuple[int, ...]
) -> None:
    answer = server.as_("anna").post("/api/personas/import?name=anna-3&filename=x.persona", content=content)
    assert answer.status_code in statuses, answer.text
    assert persona_store.names() == []
    assert persona_owners.owner_of(server.services.database, "anna-3") is None
    assert not list((empty_workspace / "uploads").iterdir())
    assert str(empty_workspace) not in answer.text


def test_a_zip_that_climbs_out_of_its_folder_is_refused(server: Server, empty_workspace: Path) -> None:
    content = zip_of(**{"../../escaped.txt": CHAT.encode(), "/etc/escaped.txt": CHAT.encode()})
    answer = sent(server, content, "chat.zip")
    assert answer.status_code in (413, 415, 422)
    assert not list(empty_workspace.rglob("escaped*"))
    assert not list((empty_workspace / "uploads").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("form", ["json", "png"])
def test_a_card_becomes_a_persona_by_a_job(server: Server, form: str) -> None:
    card = new_card("Mira", ("keeps bees",), ("Hello there.",), (), {})
    content = card_json(card) if form == "json" else card_png(card)
    url = f"/api/personas/import?name=mira&filename=mira.{form}&base=tiny"
    answer = server.as_().post(url, content=content)
    assert answer.status_code == 202, answer.text
    server.as_().get(f"/api/jobs/{answer.json()['job']}/events")
    facts = server.as_().get("/api/personas/mira").json()
    assert (facts["facts"], facts["first_lines"]) == (["keeps bees"], ["Hello there."])


def test_a_picture_without_a_card_is_refused_before_any_job(server: Server, empty_workspace: Path) -> None:
    answer = server.as_().post("/api/personas/import?name=anna&filename=a.png", content=b"\x89PNG\r\n\x1a\nrest")
    assert (answer.status_code, answer.json()["code"]) == (422, "card_missing")
    assert server.services.jobs.of("") == []
    assert not list((empty_workspace / "uploads").iterdir())


def test_a_card_without_a_word_of_its_own_shows_whose_it_is_and_what_it_says(server: Server) -> None:
    card = card_png(new_card("Otto", ("Otto is a cat.", "Otto sleeps on flour."), ("Mrrp.",), (), {}))
    sent = server.as_().post("/api/uploads?filename=otto.png", content=card, headers={"content-type": "image/png"})
    shown = server.as_().get(f"/api/uploads/{sent.json()['id']}/preview").json()
    assert shown["speakers"] == [{"name": "Otto", "turns": 0, "replies": 0, "dialogues": 0}]
    assert shown["facts"] == ["Otto is a cat.", "Otto sleeps on flour."]
    assert shown["suggested"] == {"speaker": "Otto", "name": "otto"}
