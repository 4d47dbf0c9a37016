"""The chat format of a base, derived from its chat template and compared with it.

An instruction model was trained on one exact way of writing a conversation: the Jinja template of its tokenizer. What
that writes around a content is found by rendering contents that occur nowhere else, and cutting at them.
"""

import ctypes
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os.path import commonprefix
from typing import TYPE_CHECKING, Any, TypeVar

from menura.batches.chat_format import WORD, ChatFormat, Ids, TurnTexts, plain
from menura.batches.tokenizer import Tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SECONDS = 5.0  # that a template may take to render: one that never ends would hang the program
LONGEST = 100_000  # characters of one rendered conversation
CONTENTS = ("uOneu", "aOnea", "uTwou", "aTwoa")
FACTS = "sOnes"
BETWEEN = "\n\n"  # facts and first turn, where a template has no system role
TODAY = "26 Jul 2024"  # for templates that write the date: no format may change by the day
DATE = f"{{%- macro strftime_now(format) -%}}{TODAY}{{%- endmacro -%}}"  # in front of a template; it writes nothing
PLAIN = "turns are written as plain text, one line each"
FIXED: Mapping[str, Any] = {"enable_thinking": False, "date_string": TODAY}
FIRST_CHARACTERS = ("a", "The", "1", "(", "«", "!", "über", "我", "🙂", "'s")
Messages = Sequence[tuple[str, str]]  # (role, content)
T = TypeVar("T")


class TemplateError(Exception):
    """A chat template that cannot be used, and why."""


@dataclass(frozen=True)
class TemplatePieces:
    """What a template writes around each content, as text.

    ``preamble`` stands before the first user turn where there are no facts; ``facts_open`` is None if the template has
    no system role. ``facts_in_turn`` tells that facts stand inside the first user turn.
    """

    preamble: str
    facts_open: str | None
    facts_close: str
    facts_in_turn: bool
    turn_open: str
    turn_close: str
    own_open: str
    own_close: str
    reply_open: str
    alternate: bool
    strip: bool


@dataclass(frozen=True)
class BaseFormat:
    """The chat format of a base; ``warning`` tells what is not as the base was trained, ``compared`` how that is known.

    ``compared`` counts the random conversations that are equal to the template's.
    """

    chat_format: ChatFormat
    compared: int = 0
    warning: str = ""


@dataclass(frozen=True)
class Comparison:
    """How many conversations were compared with the template, and the first that differs."""

    compared: int
    difference: str = ""


def base_format(
    hf_tokenizer: "PreTrainedTokenizerBase", tokenizer: Tokenizer, end_ids: Sequence[int], count: int = 20
) -> BaseFormat:
    """Return the chat format that a base was trained in, compared with its template on ``count`` conversations.

    Without a template, or with one that cannot be used, it is ``plain``. ``tokenizer`` is the same tokenizer, as ours;
    ``end_ids`` are the ids at which generation stops besides the format's own.
    """
    if not hf_tokenizer.chat_template:
        return BaseFormat(with_ends(plain(tokenizer), end_ids), warning=f"it has no chat template, so {PLAIN}")
    template, compared = ChatTemplate(hf_tokenizer), Comparison(0)
    try:
        made = format_of(pieces_of(template), tokenizer, "template", hf_tokenizer.eos_token_id)
        compared = compare(template, made, tokenizer, count)
    except TemplateError as error:
        warning = f"its chat template cannot be used ({error}), so {PLAIN}"
        return BaseFormat(with_ends(plain(tokenizer), end_ids), warning=warning)
    warning = f"its chat template is followed but for this: {compared.difference}" if compared.difference else ""
    return BaseFormat(with_ends(made, end_ids), compared.compared, warning)


def with_ends(chat_format: ChatFormat, end_ids: Sequence[int]) -> ChatFormat:
    """Return a format at whose generation these ids end a reply, too."""
    others = tuple(id for id in dict.fromkeys(end_ids) if id != chat_format.end)
    return replace(chat_format, other_ends=others)


class ChatTemplate:
    """The chat template of a tokenizer of transformers, with a time limit."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self._tokenizer = tokenizer
        self._text = DATE + tokenizer.get_chat_template()

    def text(self, messages: Messages, *, prompt: bool = False) -> str | None:
        """Return a conversation as text, ``prompt`` with what opens a reply; None if the template refuses it.

        TemplateError for a template that is broken, takes too long or writes too much.
        """
        text: str | None = self._rendered(messages, prompt, tokenize=False)
        return text

    def ids(self, messages: Messages, *, prompt: bool = False) -> Ids | None:
        """Return a conversation as token ids; None if the template refuses it."""
        found = self._rendered(messages, prompt, tokenize=True)
        return None if found is None else tuple(found)

    def _rendered(self, messages: Messages, prompt: bool, *, tokenize: bool) -> Any:
        from jinja2.exceptions import SecurityError, TemplateSyntaxError  # noqa: PLC0415  # a base without a template needs none
        from jinja2.exceptions import TemplateError as JinjaError  # noqa: PLC0415

        plain = [{"role": role, "content": content} for role, content in messages]
        arguments = {
            "chat_template": self._text,
            "tokenize": tokenize,
            "add_generation_prompt": prompt,
            "return_dict": False,
            **FIXED,
        }
        try:
            found = within(SECONDS, lambda: self._tokenizer.apply_chat_template(plain, **arguments))
        except TemplateSyntaxError as error:
            raise TemplateError(f"line {error.lineno}: {error.message}") from error
        except SecurityError as error:
            raise TemplateError(f"it does what a template may not: {error}") from error
        except JinjaError:
            return None  # raise_exception, mostly: the template refuses this order of roles
        except TimeoutError as error:
            raise TemplateError(f"it takes over {SECONDS:.0f} s") from error
        except Exception as error:  # a template can raise anything that Python can
            raise TemplateError(f"{type(error).__name__}: {error}") from error
        if len(found) > LONGEST:
            raise TemplateError(f"it writes over {LONGEST:,} characters for a few words")
        return found


def within(seconds: float, work: Callable[[], T]) -> T:
    """Return what ``work`` returns; TimeoutError if it takes longer, and it is then made to end."""
    found: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:  # noqa: BLE001  # handed on to the caller
            raised.append(error)

    worker = threading.Thread(target=run, daemon=True)
    worker.start()
    worker.join(seconds)
    if worker.is_alive():
        # A loop in Python ends at an exception set from outside; there is no other way to end a thread.
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(worker.ident or 0), ctypes.py_object(TimeoutError))
        worker.join(1)
        raise TimeoutError
    if raised:
        raise raised[0]
    return found[0]


def pieces_of(template: ChatTemplate) -> TemplatePieces:
    """Cut a template into what stands around each content; TemplateError if it does not write all of them, in order."""
    user, own, second, last = CONTENTS
    talk = [("user", user), ("assistant", own), ("user", second), ("assistant", last)]
    before, opened, between, _, behind = _cut(template.text(talk), CONTENTS, "a conversation of four turns")
    _, after_user = _cut(template.text(talk[:1]), CONTENTS[:1], "a single turn")
    _, prompt = _cut(template.text(talk[:1], prompt=True), CONTENTS[:1], "a prompt")
    turn_close = after_user if opened.startswith(after_user) else commonprefix([opened, prompt])
    if not prompt.startswith(turn_close):
        turn_close = commonprefix([opened, prompt])
    own_close = behind if between.startswith(behind) else commonprefix([between, behind])
    turn_open = between[len(own_close) :]
    if not before.endswith(turn_open):
        raise TemplateError("the first user turn is written otherwise than the others")
    facts = _facts(template, talk, turn_open)
    padded = [(role, f" {content} ") for role, content in talk[:3]]
    text = template.text(padded)
    return TemplatePieces(
        preamble=before[: len(before) - len(turn_open)],
        facts_open=facts[0] if facts else None,
        facts_close=facts[1] if facts else BETWEEN,
        facts_in_turn=facts[2] if facts else True,
        turn_open=turn_open,
        turn_close=turn_close,
        own_open=opened[len(turn_close) :],
        own_close=own_close,
        reply_open=prompt[len(turn_close) :],
        alternate=template.text([("user", user), ("user", second)]) is None,
        strip=text is not None and any(f" {content} " not in text for _, content in talk[:3]),
    )


def _facts(template: ChatTemplate, talk: Messages, turn_open: str) -> tuple[str, str, bool] | None:
    """Return what opens and closes the facts, and whether they stand in the first user turn; None: no system role."""
    text = template.text([("system", FACTS), *talk])
    if text is None or text.count(FACTS) != 1 or text.index(FACTS) > text.index(CONTENTS[0]):
        return None
    opened, closed, *_ = _cut(text, (FACTS, *CONTENTS), "a conversation with a system message")
    if closed.endswith(turn_open) and turn_open:
        return opened, closed[: len(closed) - len(turn_open)], False
    if turn_open in opened:
        return opened, closed, True
    return None


def _cut(text: str | None, contents: Sequence[str], what: str) -> list[str]:
    """Return the text before, between and behind contents; TemplateError unless each occurs once, in this order."""
    if text is None:
        raise TemplateError(f"it refuses {what}")
    rest, found = text, []
    for content in contents:
        if text.count(content) != 1 or content not in rest:
            raise TemplateError(f"it does not write {what} in its order, each content once")
        piece, rest = rest.split(content)
        found.append(piece)
    return [*found, rest]


def format_of(pieces: TemplatePieces, tokenizer: Tokenizer, name: str, eos: int | None) -> ChatFormat:
    """Return the chat format of a template's pieces; TemplateError if nothing ends a reply.

    ``eos`` is the tokenizer's own end, for a template that writes none.
    """
    ids = tokenizer.encode_with_control
    facts_open = pieces.facts_open if pieces.facts_open is not None else pieces.preamble + pieces.turn_open
    closes = ids(pieces.own_close) or ((eos,) if eos is not None else ())
    if not closes:
        raise TemplateError("nothing ends a reply")
    # What the prompt's opening leaves of the opening of an earlier reply belongs to the reply.
    lead = pieces.own_open.removeprefix(pieces.reply_open) if pieces.own_open.startswith(pieces.reply_open) else ""
    made = ChatFormat(
        name,
        ids(facts_open),
        ids(pieces.facts_close),
        ids(pieces.turn_open),
        ids(pieces.turn_close),
        ids(pieces.reply_open),
        closes[0],
        closes[1:],
        preamble=ids(pieces.preamble),
        own_open=None if pieces.own_open == pieces.reply_open else ids(pieces.own_open),
        reply_lead=lead,
        facts_in_turn=pieces.facts_in_turn,
        alternate=pieces.alternate,
        strip=pieces.strip,
    )
    around = [
        (pieces.turn_open, pieces.turn_close),
        (pieces.own_open, pieces.own_close),
        (facts_open, pieces.facts_close),
        (pieces.turn_close + pieces.reply_open, ""),
    ]
    if all(_separate(tokenizer, *pair) for pair in around):
        return made
    reply_open = pieces.reply_open
    if not _separate(tokenizer, pieces.turn_close + reply_open, "") and reply_open.endswith(" "):
        # The tokenizer merges the blank with the word behind it: it is the reply's.
        stripped = reply_open.rstrip(" ")
        lead, reply_open = reply_open[len(stripped) :] + lead, stripped
    texts = TurnTexts(
        pieces.preamble,
        pieces.turn_open,
        pieces.turn_close,
        pieces.own_open,
        pieces.own_close,
        reply_open,
        facts_open,
        pieces.facts_close,
    )
    read, whole = ids(WORD + pieces.turn_close), ids(WORD + pieces.turn_close + reply_open)
    opens = whole[len(read) :] if whole[: len(read)] == read else ids(reply_open)
    return replace(made, texts=texts, reply_open=opens, reply_lead=lead)


def _separate(tokenizer: Tokenizer, before: str, behind: str) -> bool:
    """Tell whether a content is tokenised alike alone and between two texts."""
    ids = tokenizer.encode_with_control
    return all(
        ids(before + content + behind) == (*ids(before), *tokenizer.encode(content), *ids(behind))
        for first in FIRST_CHARACTERS
        for content in (first, f"{first} walks, twice.")
    )


def composed(chat_format: ChatFormat, tokenizer: Tokenizer, messages: Messages, *, prompt: bool = False) -> Ids:
    """Return a conversation as this format writes it; a system message is the facts."""
    facts = next((content for role, content in messages if role == "system"), "")
    talk = [(role == "assistant", chat_format.cleaned(content)) for role, content in messages if role != "system"]
    user_first = bool(talk) and not talk[0][0]
    made = [chat_format.facts(tokenizer, chat_format.cleaned(facts), user_first=user_first)]
    for place, (own, content) in enumerate(talk):
        if place == 0 and facts and user_first and chat_format.facts_in_turn:
            made.append(chat_format.first_turn(tokenizer, content))
        else:
            after = "turn" if place else "facts" if facts else "preamble"
            made.append(chat_format.turn(tokenizer, content, own=own, after=after))  # type: ignore[arg-type]  # a literal
    return (*(id for piece in made for id in piece), *(chat_format.reply_open if prompt else ()))


def compare(
    template: ChatTemplate, chat_format: ChatFormat, tokenizer: Tokenizer, count: int, seed: int = 0
) -> Comparison:
    """Compare random conversations with those that the template writes, wherever it accepts them.

    A prompt must be equal to the id. A conversation that ends with a reply may open that reply as a prompt does.
    """
    compared = 0
    for messages in conversations(count, seed):
        prompt = messages[-1][0] == "user"
        wanted = template.ids(messages, prompt=prompt)
        if wanted is None:
            continue
        if prompt and chat_format.texts and chat_format.reply_lead.startswith(" "):
            # The blank that ends the template's prompt is the reply's here.
            wanted = tokenizer.encode_with_control((template.text(messages, prompt=True) or "").rstrip(" "))
        compared += 1
        found = [composed(chat_format, tokenizer, messages, prompt=prompt)]
        if not prompt:
            reply = chat_format.reply(tokenizer, chat_format.cleaned(messages[-1][1]))
            read = composed(chat_format, tokenizer, messages[:-1], prompt=True)
            found.append((*read, *reply, chat_format.end, *chat_format.after_end))
        if wanted not in found:
            return Comparison(compared, f"the template writes {_where(tokenizer, wanted, found[0])}")
    return Comparison(compared)


def _where(tokenizer: Tokenizer, wanted: Ids, found: Ids) -> str:
    """Tell where two sequences part."""
    same = len(commonprefix([wanted, found]))
    ours, theirs = (tokenizer.spelled(ids[max(same - 4, 0) : same + 6]) for ids in (found, wanted))
    return f"{theirs!r} where the format writes {ours!r}"


TEXT = "the a my cat dog walks sings, Yes! no? 12 we're there. Café über 我们 🙂 tea: (maybe) it's blue and then some"
WORDS = TEXT.split()


def conversations(count: int, seed: int) -> Iterator[list[tuple[str, str]]]:
    """Yield random conversations: with a system message or not, mostly alternating, ending with either side."""
    draw = random.Random(seed)

    def content() -> str:
        said = " ".join(draw.choices(WORDS, k=draw.randint(1, 9)))
        return f"{said}\n{draw.choice(WORDS)}" if draw.random() < 0.2 else said

    for _ in range(count):
        roles = ["user", "assistant"] * draw.randint(1, 4)
        if draw.random() < 0.2:
            roles.insert(draw.randrange(len(roles)), draw.choice(["user", "assistant"]))
        roles = roles[: len(roles) - draw.randint(0, 1)]
        made = [(role, content()) for role in roles]
        yield [("system", content()), *made] if draw.random() < 0.4 else made
