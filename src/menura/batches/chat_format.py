"""Chat formats: how facts, turns and replies are written as token ids (MAMLviaPP, appendix A; spec section 11).

``chat_template`` derives the format of an instruction model from its chat template; this module has the type, and the
formats of the papers.
"""

import hashlib
from dataclasses import astuple, dataclass
from typing import Literal

from menura.batches.tokenizer import END_OF_REPLY, Tokenizer

ChatFormatName = Literal["auto", "chat", "special", "plain"]
Place = Literal["preamble", "facts", "turn"]  # what a turn stands after
WORD = "x"  # stands for the content before a turn, in texts that are tokenised together
SPECIAL_TOKENS = ("<p>", "</p>", "<u>", "</u>", "<r>", "</r>")

Ids = tuple[int, ...]


@dataclass(frozen=True)
class TurnTexts:
    """The same pieces as text, for a tokenizer that merges a content with what stands around it.

    A whole turn is then tokenised at once, behind ``before_…``, the text that mostly precedes it: some tokenizers put a
    blank in front of whatever comes first.
    """

    preamble: str
    turn_open: str
    turn_close: str
    own_open: str
    own_close: str
    reply_open: str
    facts_open: str
    facts_close: str


@dataclass(frozen=True)
class ChatFormat:
    """The tokens that open and close each piece; ``end`` closes a reply and is the last token with loss.

    ``preamble`` comes first where there are no facts: the BOS token, a template's default system message; the BOS that
    stands before facts is in ``facts_open``. ``after_end`` follows the end token if the reply is part of a later
    context; it has no loss.
    ``own_open`` opens the persona's own turns of a context where that is not ``reply_open``, the generation prompt.
    The leads are text that is tokenised with the content; with ``texts`` whole turns are tokenised.

    In a ``bare`` format there are no tokens around the turns of a context; with ``alike`` the persona's own turns have
    the partner's format. ``fact_close`` closes each fact; without it facts are lines of one text. With
    ``facts_in_turn`` facts stand at the beginning of the first user turn, which ``facts_open`` opens. With
    ``alternate`` messages in a row by one side are joined to one turn. ``strip`` drops outer white space of a content;
    ``one_line`` writes its line breaks as spaces. Generation also stops at ``other_ends``.
    """

    name: str
    facts_open: Ids
    facts_close: Ids
    turn_open: Ids
    turn_close: Ids
    reply_open: Ids
    end: int
    after_end: Ids = ()
    bare: bool = False
    alike: bool = False
    fact_close: Ids = ()
    preamble: Ids = ()
    own_open: Ids | None = None
    facts_lead: str = ""
    turn_lead: str = ""
    own_lead: str = ""
    reply_lead: str = ""
    texts: TurnTexts | None = None
    facts_in_turn: bool = False
    alternate: bool = False
    strip: bool = False
    one_line: bool = False
    other_ends: Ids = ()

    @property
    def opens_own(self) -> Ids:
        """The tokens that open the persona's own turns of a context."""
        return self.reply_open if self.own_open is None else self.own_open

    @property
    def ends(self) -> Ids:
        """The tokens at which generation stops; the first is the one that replies are trained to end with."""
        return (self.end, *self.other_ends)

    @property
    def sha256(self) -> str:
        """A hash of all that this format writes; weights learnt in one format are of no use in another."""
        return hashlib.sha256(repr(astuple(self)[1:-1]).encode()).hexdigest()

    @property
    def by_content(self) -> bool:
        """Whether a turn is its content's ids with others around them, so that the content can be found again."""
        return self.texts is None and not self.facts_in_turn

    def content(self, turn: Ids, *, own: bool) -> Ids | None:
        """Return a turn's content, without the tokens around it; None if its beginning was truncated."""
        if self.bare:
            return turn
        own = own and not self.alike
        opened = self.opens_own if own else self.turn_open
        closed = len(self.after_end) + 1 if own else len(self.turn_close)
        return turn[len(opened) : len(turn) - closed] if turn[: len(opened)] == opened else None

    def cleaned(self, text: str) -> str:
        """Return a content as this format writes it."""
        text = " ".join(text.splitlines()) if self.one_line else text
        return text.strip() if self.strip else text

    def facts(self, tokenizer: Tokenizer, facts: str, *, user_first: bool) -> Ids:
        """Return what stands before the turns: the facts, or ``preamble`` where there are none.

        ``user_first`` tells that the first turn is not the persona's own: with ``facts_in_turn`` it is then written by
        ``first_turn``, and otherwise the facts have a turn of their own.
        """
        if not facts:
            return self.preamble
        if self.texts is None or tokenizer.has_control(facts):
            read = (*self.facts_open, *tokenizer.encode(self.facts_lead + facts), *self.facts_close)
        else:
            read = tokenizer.encode_with_control(f"{self.texts.facts_open}{facts}{self.texts.facts_close}")
        return read if user_first or not self.facts_in_turn else (*read, *self.turn_close)

    def first_turn(self, tokenizer: Tokenizer, text: str) -> Ids:
        """Return a user turn whose beginning the facts were."""
        if self.texts is None or tokenizer.has_control(text):
            return (*tokenizer.encode(text), *self.turn_close)
        return _behind(tokenizer, WORD + self.texts.facts_close, text + self.texts.turn_close)

    def turn(self, tokenizer: Tokenizer, text: str, *, own: bool, after: Place) -> Ids:
        """Return a turn of a context, from its text and what it stands after."""
        own = own and not self.alike
        if self.texts is None or tokenizer.has_control(text):
            lead = "" if self.bare or self.alike else self.own_lead if own else self.turn_lead
            return turn_ids(self, tokenizer.encode(lead + text), own=own)
        texts = self.texts
        before = {"preamble": texts.preamble, "facts": WORD + texts.facts_close}.get(
            after, WORD + (texts.turn_close if own else texts.own_close)
        )
        around = (texts.own_open, texts.own_close) if own else (texts.turn_open, texts.turn_close)
        return _behind(tokenizer, before, f"{around[0]}{text}{around[1]}")

    def reply(self, tokenizer: Tokenizer, text: str) -> Ids:
        """Return a reply's content as it follows ``reply_open``, without the end token."""
        plain = tokenizer.encode(self.reply_lead + text)
        if self.texts is None or tokenizer.has_control(text):
            return plain
        return _behind(tokenizer, WORD + self.texts.turn_close + self.texts.reply_open, self.reply_lead + text, plain)


def _behind(tokenizer: Tokenizer, before: str, text: str, otherwise: Ids | None = None) -> Ids:
    """Return the ids of a text with control tokens as they follow another text.

    ``otherwise`` is returned where a token spans both; without it the ids of the text alone are.
    """
    read, whole = tokenizer.encode_with_control(before), tokenizer.encode_with_control(before + text)
    if whole[: len(read)] == read:
        return whole[len(read) :]
    return tokenizer.encode_with_control(text) if otherwise is None else otherwise


def turn_ids(chat_format: ChatFormat, content: Ids, *, own: bool) -> Ids:
    """Return a turn of a context; the persona's own turns have the format of replies."""
    if chat_format.bare:
        return content
    if own and not chat_format.alike:
        return (*chat_format.opens_own, *content, chat_format.end, *chat_format.after_end)
    return (*chat_format.turn_open, *content, *chat_format.turn_close)


def chat(tokenizer: Tokenizer) -> ChatFormat:
    """Return the ChatML format: facts are the system message, the persona is the assistant."""
    start, end, line = tokenizer.control("<|im_start|>"), tokenizer.control("<|im_end|>"), tokenizer.encode("\n")

    def opened(role: str) -> Ids:
        return (start, *tokenizer.encode(role), *line)

    close = (end, *line)
    return ChatFormat("chat", opened("system"), close, opened("user"), close, opened("assistant"), end, after_end=line)


def special(tokenizer: Tokenizer) -> ChatFormat:
    """Return a format with six new tokens: ``<p>facts</p> <u>turn</u> <r>reply</r>``; the vocabulary must have them."""
    p, p_end, u, u_end, r, r_end = (tokenizer.control(name) for name in SPECIAL_TOKENS)
    return ChatFormat("special", (p,), (p_end,), (u,), (u_end,), (r,), r_end)


def plain(tokenizer: Tokenizer) -> ChatFormat:
    """Return a plain-text format: one line per turn, the end of a reply is the first token of a line break.

    It is for networks that were never taught a chat format. The BOS token stands where the tokenizer itself puts it.
    """
    line, bos = tokenizer.encode("\n"), tokenizer.bos

    def opened(name: str) -> Ids:
        return tokenizer.encode(f"{name}:")

    return ChatFormat(
        "plain",
        (*bos, *opened("Facts")),
        line,
        opened("User"),
        line,
        opened("Reply"),
        line[0],
        line[1:],
        preamble=bos,
        facts_lead=" ",
        turn_lead=" ",
        own_lead=" ",
        reply_lead=" ",
        one_line=True,
    )


def words(tokenizer: Tokenizer) -> ChatFormat:
    """Return CMAML's format: all turns concatenated, speakers not marked; a special token opens the reply."""
    return ChatFormat(
        "words", (), (), (), (), (tokenizer.control("<sos>"),), tokenizer.control(END_OF_REPLY), bare=True
    )


def utterances(opens: int, end: int) -> ChatFormat:
    """Return PLATO's format: ``end`` closes each utterance and each fact, ``opens`` opens the reply (A3)."""
    return ChatFormat("utterances", (), (), (), (end,), (opens,), end, alike=True, fact_close=(end,))


def separated(tokenizer: Tokenizer) -> ChatFormat:
    """Return attention routing's format: a separator after each turn, special tokens around the reply (B1)."""
    opens, closes, end = (tokenizer.control(name) for name in ("<bos>", "<sep>", END_OF_REPLY))
    return ChatFormat("separated", (), (), (), (closes,), (opens,), end, alike=True)


CHAT_FORMATS = {"chat": chat, "special": special, "plain": plain}
"""The formats that need no chat template, by the setting ``chat_format``; ``auto`` is the base's own."""
