"""Chat formats: the token ids around facts, turns and replies (MAMLviaPP, appendix A; spec section 11)."""

from dataclasses import dataclass
from typing import Literal

from menura.batches.tokenizer import END_OF_REPLY, Tokenizer

ChatFormatName = Literal["chat", "special", "plain"]
SPECIAL_TOKENS = ("<p>", "</p>", "<u>", "</u>", "<r>", "</r>")

Ids = tuple[int, ...]


@dataclass(frozen=True)
class ChatFormat:
    """The tokens that open and close each piece; ``end`` closes a reply and is the last token with loss.

    ``after_end`` follows the end token if the reply is part of a later context; it has no loss. In a ``bare`` format
    there are no tokens around the turns of a context; with ``alike`` the persona's own turns have the partner's format.
    ``fact_close`` closes each fact; without it facts are lines of one text.
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

    def content(self, turn: Ids, *, own: bool) -> Ids | None:
        """Return a turn's content, without the tokens around it; None if its beginning was truncated."""
        if self.bare:
            return turn
        own = own and not self.alike
        opened = self.reply_open if own else self.turn_open
        closed = len(self.after_end) + 1 if own else len(self.turn_close)
        return turn[len(opened) : len(turn) - closed] if turn[: len(opened)] == opened else None


def turn_ids(chat_format: ChatFormat, content: Ids, *, own: bool) -> Ids:
    """Return a turn of a context; the persona's own turns have the format of replies."""
    if chat_format.bare:
        return content
    if own and not chat_format.alike:
        return (*chat_format.reply_open, *content, chat_format.end, *chat_format.after_end)
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
    """Return a plain-text format: one line per turn, the end of a reply is the first token of a line break."""
    line = tokenizer.encode("\n")
    close = line

    def opened(name: str) -> Ids:
        return tokenizer.encode(f"{name}:")

    return ChatFormat("plain", opened("Facts"), close, opened("User"), close, opened("Reply"), line[0], line[1:])


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
