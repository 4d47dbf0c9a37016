"""The texts of a chat become the language that it is in: by its letters, else by its most frequent words."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from menura.errors import Problem

ENGLISH = "English"
LETTERS_AT_MOST = 50_000  # of a chat that are looked at
SAMPLE = 4_000  # characters that are kept for counting tokens
FEWEST_WORDS, FEWEST_LETTERS = 30, 30  # below these nothing is said
SHARE = 0.15  # of the words that are a language's most frequent ones, at the least
TIMES_ENGLISH = 2  # how much more frequent they are than those of English
FEWEST_FOR_NONE, NO_ENGLISH = 200, 0.03  # words, and the share below which they are in no English

# Tokens, as times of those of English text of the same length, from which on a tokenizer was not made for a language:
# that of SmolLM2 takes 1.5 times as many of German, 1.8 of Hindi and 2.3 of Japanese. One that was made for a script
# may still have a token for each letter.
MORE_TOKENS, MORE_TOKENS_OF_A_SCRIPT = 1.45, 1.7
ENGLISH_TEXT = """did you water the plants today? yes, twice, and the basil looks better now
we have to go shopping tomorrow, there is no milk left
i can stop by after work if you tell me what we need
that would be great, thank you! i'll send you a list"""

# Names of letters in Unicode begin with these words; a chat in them is called by the language or the script.
SCRIPTS = {
    "ARABIC": "Arabic script",
    "ARMENIAN": "Armenian",
    "BENGALI": "Bengali script",
    "CJK": "Chinese",
    "CYRILLIC": "Cyrillic script",
    "DEVANAGARI": "Devanagari script",
    "GEORGIAN": "Georgian",
    "GREEK": "Greek",
    "GUJARATI": "Gujarati",
    "HANGUL": "Korean",
    "HEBREW": "Hebrew script",
    "HIRAGANA": "Japanese",
    "KATAKANA": "Japanese",
    "TAMIL": "Tamil",
    "TELUGU": "Telugu",
    "THAI": "Thai",
}
KANA_SHARE = 0.15  # of letters, from which on Chinese characters are Japanese
# Frequent words of chats; of English only those that are frequent in no other language here.
_WORDS = {
    ENGLISH: """the and you to that it this have for not are with your my what but just like know can if they there
    about out up i'm it's don't that's did yes yeah when how would been get got think good see from she at be i of
    lol omg u ur im dont thats yep nope thanks thx gonna wanna tomorrow today really sorry going back need want""",
    "German": """ich du nicht das und ist die der wir es mir ja auch hab habe mal noch aber dann schon wie was wenn den
    dir ein eine mit auf zu war bin bist doch nur kein morgen heute""",
    "French": """je tu pas est le la les et un une des que c'est j'ai ça ne pour on moi toi avec mais dans il elle nous
    vous oui bien suis qui quoi demain t'as""",
    "Spanish": """que de no la el y en es lo un una por me te se los con para si sí pero ya yo muy mi como más hay está
    eso qué estoy mañana""",
    "Portuguese": """que não de o a e eu é um uma se você para pra com mas me do da em no na tá já também isso os as
    muito bem vou amanhã""",
    "Italian": """che non di è e la il un una per mi ti ho sono ma si come con lo anche io tu hai se va bene della sei
    domani""",
    "Dutch": """ik je het een niet de dat van en is maar wel nog ook we hoe heb ben als met op voor zijn naar morgen""",
    "Swedish": """jag det är inte och att du en på som har för med vi men så kan ska till imorgon""",
    "Polish": """nie się to jest na że w i tak co ja jak do już mam ale z o mi jutro""",
    "Turkish": """bir ve bu ben çok ne var da de değil mi için ama sen evet hayır yok yarın""",
    "Indonesian": """yang aku kamu tidak ya ini itu di ada nggak gak udah mau kalau bisa juga saya besok""",
}
FREQUENT = {language: frozenset(words.split()) for language, words in _WORDS.items()}
_word = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
_not_latin = re.compile("[^\\W\\d_A-Za-zªº\u00c0-\u024f\u1e00-\u1eff]")


@dataclass
class Language:
    """What the texts of a chat tell of their language, as they come one by one."""

    sample: str = ""  # of the texts
    _letters: int = 0
    _words: int = 0
    _frequent: Counter[str] = field(default_factory=Counter)  # words that are frequent in a language, by language
    _others: Counter[str] = field(default_factory=Counter)  # letters that are not Latin

    def add(self, text: str) -> None:
        """Look at a text, unless enough was seen."""
        if self._letters >= LETTERS_AT_MOST:
            return
        if len(self.sample) < SAMPLE:
            self.sample += f"{text[:SAMPLE]}\n"
        words = _word.findall(text[:LETTERS_AT_MOST].lower().replace("’", "'"))
        self._letters += sum(map(len, words))
        self._words += len(words)
        self._others.update(_not_latin.findall(text[:LETTERS_AT_MOST]))
        for language, frequent in FREQUENT.items():
            self._frequent[language] += sum(word in frequent for word in words)

    @property
    def name(self) -> str:
        """What the chat is in, such as ``German`` or ``Arabic script``; empty for English or where it is not clear."""
        scripts = Counter[str]()
        for letter, count in self._others.items():
            script = SCRIPTS.get(unicodedata.name(letter, "").partition(" ")[0])
            scripts[script or ""] += count
        del scripts[""]
        if scripts.total() >= FEWEST_LETTERS and 2 * scripts.total() > self._letters:
            japanese = scripts["Japanese"] >= KANA_SHARE * (scripts["Japanese"] + scripts["Chinese"])
            name = scripts.most_common(1)[0][0]
            return "Japanese" if name == "Chinese" and japanese else name
        if self._words < FEWEST_WORDS:
            return ""
        english = self._frequent[ENGLISH]
        language, most = max(self._frequent.items(), key=lambda pair: pair[1])
        if most >= SHARE * self._words and most > TIMES_ENGLISH * english:
            return language
        if self._words >= FEWEST_FOR_NONE and english < NO_ENGLISH * self._words:
            return "another language than English"
        return ""

    def warning(self, base: str, place: str = "") -> Problem | None:
        """Return the warning that a base knows English above all; None for English, or where it is not clear."""
        return self._warning(f"{base} knows {ENGLISH} above all", place) if self.name else None

    def warning_of_tokens(self, encode: Callable[[str], Sequence[int]]) -> Problem | None:
        """Return the warning that a tokenizer was not made for the language; None for English, or where it was.

        ``encode`` is the tokenizer's; of a language that it does not know it takes far more tokens.
        """
        if not self.name:
            return None
        times = _tokens_a_byte(encode, self.sample) / _tokens_a_byte(encode, ENGLISH_TEXT)
        if times < (MORE_TOKENS if self.name in FREQUENT else MORE_TOKENS_OF_A_SCRIPT):
            return None
        return self._warning(f"of which this base takes {times:.1f} times as many tokens as of {ENGLISH}")

    def _warning(self, said: str, place: str = "") -> Problem:
        hint = "take a base that knows the language: --base FOLDER, or a hub id"
        return Problem("language", f"the chat is in {self.name}, {said}", place, hint, "warn")


def _tokens_a_byte(encode: Callable[[str], Sequence[int]], text: str) -> float:
    """Return how many tokens a byte of UTF-8 takes: words and letters are of other lengths in each script."""
    return len(encode(text)) / max(len(text.encode("utf-8", "replace")), 1)
