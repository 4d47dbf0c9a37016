"""Tables with a header become messages: one column says who, one what, others when and in which dialogue."""

from collections.abc import Iterator
from dataclasses import dataclass

from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.epoch_or_text_times import stamp_of
from menura.corpus.chats.message import Event, Message, Notes, Stamp, Start
from menura.corpus.chats.table_rows import Header, header_of, table_rows

# Names of columns as ``folded`` writes them, the likeliest first: in English, German, Spanish, French, Portuguese.
NAMES = """
speaker author sender sendername from fromname displayname nickname name username user participant person who
sprecher sprecherin autor autorin absender absenderin von benutzer benutzername nutzer nutzerin
hablante remitente emisor nombre usuario persona locuteur auteur expediteur interlocuteur utilisateur personne nom
falante remetente locutor emissor utilizador pessoa nome de role

text message messagetext content messagecontent body utterance msg sentence line reply comment
nachricht nachrichtentext inhalt aussage ausserung texto mensaje contenido enunciado texte contenu enonce
mensagem conteudo fala

timestamp ts datetime dateandtime createdat created sentat senton sent senddate sentdate messagetime when
zeitstempel zeitpunkt gesendet gesendetam marcadetiempo fechayhora fechahora horodatage dateheure dataehora datahora

date day datum tag fecha data dia jour

time clock zeit uhrzeit hora tiempo heure horario

dialogueid dialogid dialogue dialog conversationid convid conversation conv threadid thread sessionid session
chatid chat episodeid episode gesprachid gesprach unterhaltung sitzung
dialogo iddialogo conversacion hilo sesion iddialogue idconversation fil conversa sessao
"""
SPEAKERS, TEXTS, TIMES, DATES, CLOCKS, DIALOGUES = (tuple(group.split()) for group in NAMES.split("\n\n"))
# A table of DiscordChatExporter has a reader of its own.
OTHERS = (frozenset(("authorid", "attachments")), frozenset(("user1personas", "user2personas")))
IDS_KEPT = 200_000


@dataclass(frozen=True)
class Columns:
    """Where the columns stand; ``times`` are one or two, date and time of the day."""

    speaker: int
    text: int
    times: tuple[int, ...]
    dialogue: int | None


def columns_of(header: Header) -> Columns | None:
    """Return where the columns stand, None where there is none for who or what."""
    if any(other <= set(header.cells) for other in OTHERS):
        return None

    def place(names: tuple[str, ...]) -> int | None:
        return next((header.cells.index(name) for name in names if name in header.cells), None)

    speaker, text = place(SPEAKERS), place(TEXTS)
    if speaker is None or text is None:
        return None
    whole = place(TIMES)
    parts = (whole,) if whole is not None else (place(DATES), place(CLOCKS))
    return Columns(speaker, text, tuple(part for part in parts if part is not None), place(DIALOGUES))


def looks_like(head: str, name: str) -> str:
    """Return why a file's start, ``head``, is of this format, else empty; ``name`` is the file's."""
    header = header_of(head)
    columns = columns_of(header) if header else None
    if header is None or columns is None:
        return ""
    return f"a table with the columns {header.cells[columns.speaker]} and {header.cells[columns.text]}"


def messages(file: ChatFile, notes: Notes) -> Iterator[Event]:
    """Yield one message a row; a dialogue starts where the column of dialogues changes."""
    header = header_of(file.head())
    columns = columns_of(header) if header else None
    if header is None or columns is None:
        notes.wrong("schema", "no columns that say who speaks and what", 1, hint="name them speaker and text")
        return
    notes.starts = columns.dialogue is not None
    now, seen = "", set[str]()
    for line, row in table_rows(file, notes, header):
        cells = _whole(row, header, columns, notes, line)
        if cells is None:
            continue
        dialogue = cells[columns.dialogue].strip() if columns.dialogue is not None else ""
        if dialogue != now:
            if dialogue in seen:
                notes.warn("mixed", "a dialogue goes on after others; read as several", line, hint="sort by dialogue")
            elif len(seen) < IDS_KEPT:
                seen.add(dialogue)
            yield Start(dialogue_id=dialogue)
            now = dialogue
        yield Message(cells[columns.speaker].strip(), cells[columns.text], line, _time(cells, columns, notes, line))


def _whole(row: list[str], header: Header, columns: Columns, notes: Notes, line: int) -> list[str] | None:
    """Return a row with as many cells as the header has; None, and a fault noted, where that cannot be."""
    wanted = len(header.cells)
    row = row + [""] * (wanted - len(row)) if columns.text < len(row) > columns.speaker else row
    if len(row) > wanted and columns.text == wanted - 1:
        # Nobody put the last cell into quotation marks, but it is clear where it begins.
        row = [*row[: wanted - 1], header.delimiter.join(row[wanted - 1 :])]
    if len(row) > wanted and not any(row[wanted:]):
        row = row[:wanted]
    if len(row) == wanted:
        return row
    hint = f'put texts with "{header.delimiter}" into quotation marks'
    notes.wrong("schema", f"{len(row)} cell{'s' * (len(row) > 1)}, the header has {wanted}", line, hint=hint)
    return None


def _time(cells: list[str], columns: Columns, notes: Notes, line: int) -> Stamp | None:
    if not columns.times:
        return None
    stamp = stamp_of(" ".join(cells[index].strip() for index in columns.times))
    if stamp is None:
        notes.warn("times", "no time that can be read; nothing is cut by silence there", line)
    return stamp
