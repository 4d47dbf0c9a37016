"""UTF-8 that was read as Windows-1252 or Latin-1 becomes what it was, where there is no doubt of it.

`é` read so is `Ã©`. Correct text holds such pairs as well: `Spaß“`, `« café »` with a no-break space, `máš…`.
So a single doubtful character is mended only beside one that cannot be correct.
"""

import re

# What Windows-1252 shows for bytes 0x80 to 0x9F; five of them it leaves undefined.
_SHOWN = {
    character: byte
    for byte in range(0x80, 0xA0)
    if byte not in {0x81, 0x8D, 0x8F, 0x90, 0x9D}
    for character in bytes([byte]).decode("cp1252")
}
_BYTES = {chr(byte): byte for byte in range(0x80, 0x100)} | _SHOWN
_FOLLOWS = "\x80-\xbf" + "".join(_SHOWN)

# 0xDF, `ß`, begins nothing here: `„Spaß“` is common and N'Ko is not.
_PIECE = f"[\xc2-\xde][{_FOLLOWS}]|[\xe0-\xef][{_FOLLOWS}]{{2}}|[\xf0-\xf4][{_FOLLOWS}]{{3}}"
_piece = re.compile(_PIECE)
_runs = re.compile(f"(?:{_PIECE})+")
_hint = re.compile(f"[\xc2-\xde\xe0-\xf4](?:[{_FOLLOWS}]|(?<=[ÃÂ]) )").search
# What is left of `à` once its no-break space is a blank, and of pairs and quotes that lost their end.
_left = re.compile(r"(?<![A-ZÀ-Þ])[ÃÂ] \w{0,10}|â€.?|ðŸ.{0,2}").findall

# What may stand behind a letter in correct text.
_CLOSING = frozenset("\xa0\xad«»‹›“”„‚‘’…–—€™©®°·•²³¹ªº´§†‡%¼½¾£¥¢¤±µ¡¿")
_QUOTING = frozenset("\xa0«»‹›“”‘’…–—")
_LETTERS = frozenset("šžŠŽœŒŸƒ")
_CAPITALS = frozenset("ÄÅÆÉÖØÜ")  # which stand in a row with dashes, as in `Ä–Ö–Ü`
_LATIN = frozenset("ÂÃÄÅÆÈ")  # begin the letters of European languages, which stand alone among ASCII
_PASSES = 3  # text may be read wrongly, saved, and read wrongly again


def mended(text: str) -> tuple[str, int, list[str]]:
    """Return the text with mojibake mended, how many runs of it were, and what looks like it and stays."""
    if text.isascii() or _hint(text) is None:
        return text, 0, []
    text, count = _mended_once(text)
    for _ in range(_PASSES - 1 if count else 0):
        text, more = _mended_once(text)
        if not more:
            break
    return text, count, _left(text)


def _mended_once(text: str) -> tuple[str, int]:
    found = [(run, _decoded(run[0])) for run in _runs.finditer(text)]
    runs = [(run, decoded, _doubt(run, text)) for run, decoded in found if decoded is not None]
    worst = 1 if any(doubt == 0 for _, _, doubt in runs) else 0
    runs = [run for run in runs if run[2] <= worst]
    pieces = []
    at = 0
    for run, decoded, _ in runs:
        pieces += [text[at : run.start()], decoded]
        at = run.end()
    return "".join([*pieces, text[at:]]), len(runs)


def _decoded(run: str) -> str | None:
    try:
        return bytes(_BYTES[character] for character in run).decode()
    except UnicodeDecodeError:  # an overlong form, half a surrogate
        return None


def _doubt(run: re.Match[str], text: str) -> int:
    """Return 0 for what cannot be correct text, 1 for what may be, 2 for what probably is."""
    pieces = _piece.findall(run[0])
    before = text[run.start() - 1 : run.start()]
    after = text[run.end() : run.end() + 1]
    if len(pieces) > 1:
        return 1 if all(piece[0] in _CAPITALS and _QUOTING.issuperset(piece[1:]) for piece in pieces) else 0
    piece = pieces[0]
    if len(piece) == 4:
        return 0
    return _doubt_of_two(piece, before, after) if len(piece) == 2 else _doubt_of_three(piece, after)


def _doubt_of_two(piece: str, before: str, after: str) -> int:
    first, second = piece[0], piece[1]
    if second not in _CLOSING and second not in _LETTERS:
        return 0
    if first not in _LATIN:
        return 1  # `Úžasné`, `3×½`; other scripts come in longer runs
    if first == "È" and second not in "™š›˜":
        return 1
    if (first != "Ã" and second == "\xad") or (first == "Å" and second in "¹²³" and not before.isalpha()):
        return 1  # a soft hyphen, square ångström
    if before.isupper() and second in _QUOTING and not after.isalpha():
        return 1  # `“AMANHÃ”`
    if second in _QUOTING and second != "\xa0" and not before.isalpha():
        return 0 if after.islower() else 1  # `Ã–sterreich` and `Å“uvre`, but `Ä–Ö`
    return 0


def _doubt_of_three(piece: str, after: str) -> int:
    first, second, third = piece[0], piece[1], piece[2]
    if first == "â":
        return 2 if second in _QUOTING else 0  # `â€™`, `â‚¬`
    if first == "á" and second in "º»":  # Vietnamese, or `«está»…`
        return 0 if after.isalpha() or third not in _CLOSING else 1
    if first == "ï" and (second not in _QUOTING or piece == "ï»¿"):  # the mark at the start of a file
        return 0
    return 2 if _is_typography(piece) else 0


def _is_typography(piece: str) -> bool:
    """Whether what follows the first letter may all follow it in correct text."""
    return all(character in _CLOSING or character in _LETTERS for character in piece[1:])
