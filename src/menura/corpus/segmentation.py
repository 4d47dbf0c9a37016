"""Text becomes pieces: runs of one script, and of these the ones that say something.

Japanese and Chinese have no blanks between words. Where the script changes, a word mostly does too: nouns and stems
stand in kanji or katakana, endings and particles in hiragana.
"""

import re
import unicodedata
from collections.abc import Collection

from menura.corpus.stop_words import STOP_WORDS

KANJI = "\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
HIRAGANA = "\u3041-\u309f"
KATAKANA = "\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # half a width too
HANGUL = "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af"
LONG = "\u30fc"  # the mark of a long vowel stands after hiragana as well
ALPHABETIC = rf"[^\W_{KANJI}{HIRAGANA}{KATAKANA}{HANGUL}]+"  # Latin letters and digits, and other alphabets

PIECE = re.compile(
    rf"(?P<content>[{KANJI}]+|[{KATAKANA}]+|[{HANGUL}]+)"
    rf"|(?P<hiragana>[{HIRAGANA}][{HIRAGANA}{LONG}]*)"
    rf"|(?P<word>{ALPHABETIC}(?:['\u2019]{ALPHABETIC})*)"
    rf"|(?P<signs>(?:_|[^\w\s])+)"
)
UNBLANKED = re.compile(rf"[{KANJI}{HIRAGANA}{KATAKANA}]")
# A run of one script where no blanks stand between words, as a pattern for other programs.
UNBLANKED_RUN = rf"[{KANJI}]+|[{KATAKANA}]+|[{HIRAGANA}][{HIRAGANA}{LONG}]*"
LEAST_CHARACTERS = 2  # of a run without blanks around; a single kanji is as often part of a phrase as a word
LEAST_LETTERS = 4  # of a word between blanks


def pieces(text: str) -> list[str]:
    """Return all maximal runs of one script, in order: hiragana and signs too, blanks not. Case and width stay."""
    return [found.group() for found in PIECE.finditer(text)]


def content_pieces(text: str) -> set[str]:
    """Return the pieces that say something, in lower case and of one width (NFKC).

    Runs of kanji, katakana or hangul count from two characters on, words from four letters on if they are no stop
    words; in a text of kanji or kana, words count from two letters on. Hiragana and signs say nothing.
    """
    even = _evened(text)
    least = LEAST_CHARACTERS if UNBLANKED.search(even) else LEAST_LETTERS
    found = [(match.lastgroup, match.group()) for match in PIECE.finditer(even)]
    words = {piece for kind, piece in found if kind == "word" and len(piece) >= least}
    return (words - STOP_WORDS) | {
        piece for kind, piece in found if kind == "content" and len(piece) >= LEAST_CHARACTERS
    }


def says_any(text: str, wanted: Collection[str]) -> bool:
    """Return whether a text says one of some content pieces: a word as a whole, a run also inside a longer one."""
    even = _evened(text)
    whole = set(pieces(even))
    return any(piece in whole or (piece in even and not _is_word(piece)) for piece in wanted)


def _is_word(piece: str) -> bool:
    found = PIECE.fullmatch(piece)
    return found is not None and found.lastgroup == "word"


def _evened(text: str) -> str:
    return unicodedata.normalize("NFKC", text).lower().replace("\u2019", "'")
