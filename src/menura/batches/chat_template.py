"""The chat format of a base, derived from its chat template and compared with it.

An instruction model was trained on one exact way of writing a conversation: the Jinja template of its tokenizer. What
that writes around a content is found by rendering contents that occur nowhere else, and cutting at them.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os.path import commonprefix
from typing import TYPE_CHECKING, Any

from menura.batches.chat_format import WORD, ChatFormat, Ids, TurnTexts, plain
from menura.batches.limited_process import call_limited
from menura.batches.tokenizer import Tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SECONDS = 5.0  # that a template may take to render some conversations: one that never ends would hang the program
MEMORY = 256_000_000  # bytes that it may take: a few characters can ask for more than there is
LONGEST = 100_000  # characters of one rendered conversation
LONGEST_ERROR = 200  # characters of what a template raises
CONTENTS = ("uOneu", "aOnea", "uTwou", "aTwoa")
FACTS = "sOnes"
BETWEEN = "\n\n"  # facts and first turn, where a template has no system role
TODAY = "26 Jul 2024"  # for templates that write the date: no format may change by the day
DATE = f"{{%- macro strftime_now(format) -%}}{TODAY}{{%- endmacro -%}}"  # in front of a template; it writes nothing
PLAIN = "turns are written as plain text, one line each"
FIXED: Mapping[str, Any] = {"enable_thinking": False, "date_string": TODAY}
FIRST_CHARACTERS = ("a", "The", "1", "(", "«", "!", "über", "我", "🙂", "'s")
Messages = Sequence[tuple[str, str]]  # (role, content)


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
    """The chat template of a tokenizer of transformers, with limits of time and memory."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self._tokenizer = tokenizer
        self._text = DATE + tokenizer.get_chat_template()

    def text(self, messages: Messages, *, prompt: bool = False) -> str | None:
        """Return a conversation as text, ``prompt`` with what opens a reply; None if the template refuses it.

        TemplateError as in ``texts``.
        """
        return self.texts([(messages, prompt)])[0]

    def texts(self, conversations: Sequence[tuple[Messages, bool]]) -> list[str | None]:
        """Return conversations as texts, with what opens a reply where True stands beside; None for those refused.

        TemplateError for a template that is broken, takes too long or too much memory, or writes too much.
        """
        import jinja2.ext  # noqa: F401, PLC0415  # here, not in each process that renders; a base without a template needs none

        try:
            answer = call_limited(lambda: self._answer(conversations), seconds=SECONDS, memory=MEMORY)
        except TimeoutError as error:
            raise TemplateError(f"it takes over {SECONDS:.0f} s") from error
        except MemoryError as error:
            raise TemplateError(f"it takes over {MEMORY / 1e6:.0f} MB of memory") from error
        except ChildProcessError as error:
            raise TemplateError("it breaks down the process that renders it") from error
        if answer["wrong"]:
            raise TemplateError(answer["wrong"])
        texts: list[str | None] = answer["texts"]
        return texts

    def _answer(self, conversations: Sequence[tuple[Messages, bool]]) -> dict[str, Any]:
        """Return the texts, or what is wrong with the template."""
        try:
            return {"texts": [self._rendered(*one) for one in conversations], "wrong": ""}
        except TemplateError as error:
            return {"wrong": str(error)}

    def _rendered(self, messages: Messages, prompt: bool) -> str | None:
        from jinja2.exceptions import SecurityError, TemplateSyntaxError  # noqa: PLC0415
        from jinja2.exceptions import TemplateError as JinjaError  # noqa: PLC0415

        plain = [{"role": role, "content": content} for role, content in messages]
        arguments = {"tokenize": False, "add_generation_prompt": prompt, **FIXED}
        try:
            text: str = self._tokenizer.apply_chat_template(plain, chat_template=self._text, **arguments)
        except TemplateSyntaxError as error:
            raise TemplateError(f"line {error.lineno}: {error.message}") from error
        except SecurityError as error:
            raise TemplateError(f"it does what a template may not: {error}") from error
        except JinjaError:
            return None  # raise_exception, mostly: the template refuses this order of roles
        except MemoryError:
            raise
        except Exception as error:  # a template can raise anything that Python can
            raise TemplateError(f"{type(error).__name__}: {str(error)[:LONGEST_ERROR]}") from error
        if len(text) > LONGEST:
            raise TemplateError(f"it writes over {LONGEST:,} characters for a few words")
        return text

    def encoded(self, text: str) -> Ids:
        """Return the ids of a text of this template as transformers encodes it."""
        return tuple(self._tokenizer(text, add_special_tokens=False, truncation=False)["input_ids"])


def pieces_of(template: ChatTemplate) -> TemplatePieces:
    """Cut a template into what stands around each content; TemplateError if it does not write all of them, in order."""
    user, own, second, last = CONTENTS
    talk = [("user", user), ("assistant", own), ("user", second), ("assistant", last)]
    padded = [(role, f" {content} ") for role, content in talk[:3]]
    whole, single, asking, with_facts, spaced, in_a_row = template.texts(
        [
            (talk, False),
            (talk[:1], False),
            (talk[:1], True),
            ([("system", FACTS), *talk], False),
            (padded, False),
            ([("user", user), ("user", second)], False),
        ]
    )
    before, opened, between, _, behind = _cut(whole, CONTENTS, "a conversation of four turns")
    _, after_user = _cut(single, CONTENTS[:1], "a single turn")
    _, prompt = _cut(asking, CONTENTS[:1], "a prompt")
    turn_close = after_user if opened.startswith(after_user) else commonprefix([opened, prompt])
    if not prompt.startswith(turn_close):
        turn_close = commonprefix([opened, prompt])
    own_close = behind if between.startswith(behind) else commonprefix([between, behind])
    turn_open = between[len(own_close) :]
    if not before.endswith(turn_open):
        raise TemplateError("the first user turn is written otherwise than the others")
    facts = _facts(with_facts, turn_open)
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
        alternate=in_a_row is None,
        strip=spaced is not None and any(content not in spaced for _, content in padded),
    )


def _facts(text: str | None, turn_open: str) -> tuple[str, str, bool] | None:
    """Return what opens and closes the facts, and whether they stand in the first user turn; None: no system role.

    ``text`` is a conversation that begins with facts.
    """
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
    rest, pieces = text, []
    for content in contents:
        if text.count(content) != 1 or content not in rest:
            raise TemplateError(f"it does not write {what} in its order, each content once")
        piece, rest = rest.split(content)
        pieces.append(piece)
    return [*pieces, rest]


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
    cases = [(messages, messages[-1][0] == "user") for messages in conversations(count, seed)]
    for (messages, prompt), text in zip(cases, template.texts(cases), strict=True):
        if text is None:
            continue
        wanted = template.encoded(text)
        if prompt and chat_format.texts and chat_format.reply_lead.startswith(" "):
            # The blank that ends the template's prompt is the reply's here.
            wanted = tokenizer.encode_with_control(text.rstrip(" "))
        compared += 1
        ours = [composed(chat_format, tokenizer, messages, prompt=prompt)]
        if not prompt:
            reply = chat_format.reply(tokenizer, chat_format.cleaned(messages[-1][1]))
            read = composed(chat_format, tokenizer, messages[:-1], prompt=True)
            ours.append((*read, *reply, chat_format.end, *chat_format.after_end))
        if wanted not in ours:
            return Comparison(compared, f"the template writes {_where(tokenizer, wanted, ours[0])}")
    return Comparison(compared)


def _where(tokenizer: Tokenizer, wanted: Ids, composed_ids: Ids) -> str:
    """Tell where two sequences part."""
    same = len(commonprefix([wanted, composed_ids]))
    ours, theirs = (tokenizer.spelled(ids[max(same - 4, 0) : same + 6]) for ids in (composed_ids, wanted))
    return f"{theirs!r} where the format writes {ours!r}"


TEXT = "the a my cat dog walks sings, Yes! no? 12 we're there. Café über 我们 🙂 tea: (maybe) it's blue and then some"
WORDS = TEXT.split()


def conversations(count: int, seed: int) -> Iterator[list[tuple[str, str]]]:
    """Yield random conversations: with a system message or not, mostly alternating, ending with either side."""
    draw = random.Random(seed)

    def content() -> str:
        words = " ".join(draw.choices(WORDS, k=draw.randint(1, 9)))
        return f"{words}\n{draw.choice(WORDS)}" if draw.random() < 0.2 else words

    for _ in range(count):
        roles = ["user", "assistant"] * draw.randint(1, 4)
        if draw.random() < 0.2:
            roles.insert(draw.randrange(len(roles)), draw.choice(["user", "assistant"]))
        roles = roles[: len(roles) - draw.randint(0, 1)]
        made = [(role, content()) for role in roles]
        yield [("system", content()), *made] if draw.random() < 0.4 else made
