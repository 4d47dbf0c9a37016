import json
import random
import resource
import time
from itertools import product
from typing import Any

import pytest
from counts import count
from tokenizers import AddedToken, decoders, models, normalizers, trainers
from tokenizers import Tokenizer as HFTokenizer
from transformers import PreTrainedTokenizerFast

from menura.batches import chat_template
from menura.batches.chat_format import chat, plain
from menura.batches.chat_template import (
    ChatTemplate,
    TemplateError,
    base_format,
    compare,
    composed,
    conversations,
    pieces_of,
)
from menura.batches.encode import Encoder
from menura.batches.limited_process import SIZES
from menura.batches.tokenizer import Tokenizer, byte_tokenizer
from menura.corpus.dialogue import Dialogue, Turn
from menura.tasks.task import DialogueView

LOOP = "{% for m in messages %}"
PROMPT = "{% if add_generation_prompt %}"
STRICT = "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles alternate') }}{% endif %}"
CHATML = (
    LOOP
    + "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    + PROMPT
    + "<|im_start|>assistant\n{% endif %}"
)
TEMPLATES = {
    "chatml": CHATML,
    "default_system": "{% if messages[0].role != 'system' %}<|im_start|>system\nbe kind<|im_end|>\n{% endif %}"
    + CHATML,
    "thinking": CHATML.replace(
        "assistant\n{% endif %}",
        "assistant\n{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}",
    ),
    "trimmed": "{{ bos_token }}"
    + LOOP
    + "<head>{{ m.role }}</head>\n\n{{ m.content | trim }}<|im_end|>{% endfor %}"
    + PROMPT
    + "<head>assistant</head>\n\n{% endif %}",
    "no_system": "{{ bos_token }}"
    + LOOP
    + STRICT
    + "<|im_start|>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor %}"
    + PROMPT
    + "<|im_start|>model\n{% endif %}",
    "system_in_turn": "{{ bos_token }}{% set said = messages[1:] if messages[0].role == 'system' else messages %}"
    "{% for m in said %}" + STRICT + "<|im_start|>{{ m.role }}\n{% if loop.first and said is not sameas messages %}"
    "{{ messages[0].content }}\n--\n{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}"
    + PROMPT
    + "<|im_start|>assistant\n{% endif %}",
    "brackets": "{{ bos_token }}"
    + LOOP
    + STRICT
    + "{% if m.role == 'user' %}[Q] {{ m.content }} [/Q]{% else %} {{ m.content }}{{ eos_token }}{% endif %}"
    + "{% endfor %}",
    "names": "{{ bos_token }}"
    + LOOP
    + "{% if m.role == 'user' %}Guest: {{ m.content }}\n{% elif m.role == 'assistant' %}"
    "Host: {{ m.content }}{{ eos_token }}{% else %}{{ m.content }}\n{% endif %}{% endfor %}"
    + PROMPT
    + "Host: {% endif %}",
    "words_for_tokens": LOOP
    + "<|{{ m.role }}|>\n{{ m.content }}{{ eos_token }}\n{% endfor %}"
    + PROMPT
    + "<|assistant|>\n{% endif %}",
}
CONTROL = ("<s>", "<|im_start|>", "<|im_end|>", "<head>", "</head>")


def byte_pairs() -> HFTokenizer:
    """Return a tokenizer that merges what often stands together, as GPT-2's does."""
    return HFTokenizer.from_str(byte_tokenizer(control=()).to_json())


def sentence_pieces() -> HFTokenizer:
    """Return a tokenizer that puts a blank in front of a text and merges it with the word, as Llama 2's does."""
    made = HFTokenizer(models.BPE(byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=bytes_, show_progress=False)
    made.train_from_iterator(
        [line for c in conversations(100, 1) for _, text in c for line in text.split("\n")], trainer
    )
    return made


TOKENIZERS = {"bytes": byte_pairs, "pieces": sentence_pieces}


def tokenizer_with(template: str | None, made: HFTokenizer | None = None, **about: Any) -> PreTrainedTokenizerFast:
    """Return a tokenizer of transformers with control tokens and a chat template."""
    made = made or byte_pairs()
    made.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in CONTROL])
    found = PreTrainedTokenizerFast(
        tokenizer_object=made, **{"bos_token": "<s>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>", **about}
    )
    found.chat_template = template
    return found


SPANNING = ("names", "pieces")  # no token ends a turn there, so one token spans two turns


@pytest.mark.parametrize(("name", "kind"), [pair for pair in product(TEMPLATES, TOKENIZERS) if pair != SPANNING])
def test_a_derived_format_writes_every_conversation_as_its_template_does(name: str, kind: str) -> None:
    given = tokenizer_with(TEMPLATES[name], TOKENIZERS[kind]())
    ours = Tokenizer(given.backend_tokenizer)
    found = base_format(given, ours, ())
    assert not found.warning
    assert found.chat_format.name == "template"
    compared = compare(ChatTemplate(given), found.chat_format, ours, count(full_count=200, quick_count=60), seed=9)
    assert not compared.difference
    assert compared.compared >= 20


def test_where_a_token_spans_two_turns_the_difference_is_said() -> None:
    name, kind = SPANNING
    given = tokenizer_with(TEMPLATES[name], TOKENIZERS[kind]())
    found = base_format(given, Tokenizer(given.backend_tokenizer), ())
    assert "its chat template is followed but for this: the template writes" in found.warning
    assert found.chat_format.name == "template"


def test_chatml_is_derived_as_it_was_written_by_hand() -> None:
    given = tokenizer_with(CHATML)
    ours = Tokenizer(given.backend_tokenizer)
    found = base_format(given, ours, ()).chat_format
    assert found.sha256 == chat(ours).sha256


def test_a_default_system_message_stands_until_facts_replace_it() -> None:
    given = tokenizer_with(TEMPLATES["default_system"])
    ours = Tokenizer(given.backend_tokenizer)
    found = base_format(given, ours, ()).chat_format
    assert ours.spelled(found.facts(ours, "", user_first=True)) == "<|im_start|>system\nbe kind<|im_end|>\n"
    assert "be kind" not in ours.spelled(found.facts(ours, "i mend clocks", user_first=True))


def test_an_empty_thinking_block_opens_the_reply_and_no_earlier_turn() -> None:
    given = tokenizer_with(TEMPLATES["thinking"])
    ours = Tokenizer(given.backend_tokenizer)
    found = base_format(given, ours, ()).chat_format
    talk = [("user", "hi"), ("assistant", "tick"), ("user", "what?")]
    text = ours.spelled(composed(found, ours, talk, prompt=True))
    assert text.count("<think>") == 1
    assert text.endswith("assistant\n<think>\n\n</think>\n\n")


def encoded(template: str, *lines: str, facts: tuple[str, ...] = (), first: str = "guest") -> str:
    """Return the text of a dialogue's last exchange; the persona is mira, who speaks last."""
    given = tokenizer_with(template)
    ours = Tokenizer(given.backend_tokenizer)
    order = ("guest", "mira") if first == "guest" else ("mira", "guest")
    turns = tuple(Turn(order[place % 2], line) for place, line in enumerate(lines))
    dialogue = Dialogue("d", turns, {"mira": facts} if facts else {})
    encoder = Encoder(ours, base_format(given, ours, ()).chat_format, 512)
    return ours.spelled(encoder.dialogue(DialogueView(dialogue, "mira"), "mira")[-1].ids)


def test_facts_stand_in_the_first_user_turn_where_there_is_no_system_role() -> None:
    told = encoded(TEMPLATES["no_system"], "hi", "tick", facts=("i mend clocks",))
    assert told == "<s><|im_start|>user\ni mend clocks\n\nhi<|im_end|>\n<|im_start|>model\ntick<|im_end|>"


def test_facts_have_a_turn_of_their_own_where_the_persona_speaks_first() -> None:
    told = encoded(TEMPLATES["no_system"], "welcome", "hi", "tick", facts=("i mend clocks",), first="mira")
    assert told == (
        "<s><|im_start|>user\ni mend clocks<|im_end|>\n<|im_start|>model\nwelcome<|im_end|>\n"
        "<|im_start|>user\nhi<|im_end|>\n<|im_start|>model\ntick<|im_end|>"
    ).replace("clocks<|im_end|>", "clocks\n\n<|im_end|>")


def test_there_is_exactly_one_bos_with_facts_and_without() -> None:
    for facts in ((), ("i mend clocks",)):
        for name in ("trimmed", "no_system", "system_in_turn", "brackets", "names"):
            assert encoded(TEMPLATES[name], "hi", "tick", facts=facts).count("<s>") == 1, (name, facts)


def test_messages_in_a_row_are_joined_where_roles_must_alternate() -> None:
    given = tokenizer_with(TEMPLATES["no_system"])
    ours = Tokenizer(given.backend_tokenizer)
    encoder = Encoder(ours, base_format(given, ours, ()).chat_format, 512)
    turns = (Turn("guest", "hi"), Turn("other", "and me"), Turn("mira", "tick"), Turn("guest", "what?"))
    asked = encoder.prompt(turns, "mira", room=10)
    assert "<|im_start|>user\nhi\nand me<|im_end|>" in ours.spelled(asked.prefix)
    template = ChatTemplate(given)
    text = template.text([("user", "hi\nand me"), ("assistant", "tick"), ("user", "what?")], prompt=True)
    assert text is not None
    assert asked.prefix == template.encoded(text)


def test_a_typed_control_token_stays_letters_in_every_format() -> None:
    typed = "say <|im_end|> now"
    for kind, name in ((kind, name) for kind in TOKENIZERS for name in TEMPLATES):
        given = tokenizer_with(TEMPLATES[name], TOKENIZERS[kind]())
        ours = Tokenizer(given.backend_tokenizer)
        found = base_format(given, ours, ()).chat_format
        plainly = found.turn(ours, "say it now", own=False, after="turn")
        told = found.turn(ours, typed, own=False, after="turn")
        control = ours.control("<|im_end|>")
        assert told.count(control) == plainly.count(control), (kind, name)
        assert control not in found.reply(ours, typed), (kind, name)


def test_several_dialogues_before_a_prompt_keep_one_bos_and_whole_turns() -> None:
    given = tokenizer_with(TEMPLATES["no_system"])
    ours = Tokenizer(given.backend_tokenizer)
    encoder = Encoder(ours, base_format(given, ours, ()).chat_format, 512)

    def view(name: str, *lines: str) -> DialogueView:
        turns = tuple(Turn(("guest", "mira")[place % 2], line) for place, line in enumerate(lines))
        return DialogueView(Dialogue(name, turns, {"mira": ("i mend clocks",)}), "mira")

    before = encoder.dialogue(view("a", "hi", "tick"), "mira")
    asked = encoder.dialogue(view("b", "late?", "tock"), "mira")[-1]
    text = ours.spelled(encoder.after(asked, [before], 512).ids)
    assert text == (
        "<s><|im_start|>user\ni mend clocks\n\nhi<|im_end|>\n<|im_start|>model\ntick<|im_end|>\n"
        "<|im_start|>user\nlate?<|im_end|>\n<|im_start|>model\ntock<|im_end|>"
    )


def test_a_base_without_a_template_writes_plain_text_even_if_control_tokens_exist() -> None:
    given = tokenizer_with(None)
    ours = Tokenizer(given.backend_tokenizer)
    found = base_format(given, ours, (3,))
    assert found.chat_format.sha256 == plain(ours).sha256
    assert found.chat_format.other_ends == (3,)
    assert found.warning == "it has no chat template, so turns are written as plain text, one line each"


def test_plain_text_has_the_bos_that_the_tokenizer_puts_and_one_line_a_turn() -> None:
    made = json.loads(byte_tokenizer(control=("<s>",)).to_json())
    made["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [256], "tokens": ["<s>"]}},
    }
    ours = Tokenizer.from_json(json.dumps(made))
    encoder = Encoder(ours, plain(ours), 512)
    asked = encoder.prompt((Turn("guest", "hi\nthere"),), "mira", room=10)
    assert ours.spelled(asked.prefix) == "<s>User: hi there\nReply:"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (LOOP + "{{ m.content }", "line 1"),
        ("{{ messages[0].content }}", "does not write a conversation of four turns"),
        (LOOP + "{{ m.content | upper }}{% endfor %}", "does not write"),
        ("{% include 'secret.txt' %}", "no loader"),
        ("{{ ''.__class__.__mro__ }}", "may not"),
        (LOOP + "{{ m.content }}{% endfor %}{{ 1 // 0 }}", "ZeroDivisionError"),
    ],
    ids=["syntax", "one_turn", "rewrites", "reads_a_file", "reaches_out", "python_error"],
)
def test_a_template_that_cannot_be_used_is_said_and_plain_text_written(template: str, said: str) -> None:
    given = tokenizer_with(template)
    ours = Tokenizer(given.backend_tokenizer)
    found = base_format(given, ours, ())
    assert said in found.warning
    assert found.chat_format.sha256 == plain(ours).sha256


def test_a_template_that_never_ends_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_template, "SECONDS", 0.3)
    endless = "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}" + CHATML
    with pytest.raises(TemplateError, match="takes over"):
        pieces_of(ChatTemplate(tokenizer_with(endless)))


DOUBLED = "{% set n = namespace(x='aaaaaaaa') %}{% for _ in range(99) %}"
GREEDY = {
    "a product": "{{ 'a' * 10 ** 11 }}",
    "a product of lists": "{{ [1] * 10 ** 11 }}",
    "doubling": DOUBLED + "{% set n.x = n.x ~ n.x %}{% endfor %}",
    "doubling a sum": DOUBLED + "{% set n.x = n.x + n.x %}{% endfor %}",
    "a filter": "{{ 'a' | center(10 ** 11) }}",
    "a method": "{{ 'a'.ljust(10 ** 11) }}",
    "a format": "{{ '%099999999999d' % 1 }}",
    "joining": "{% set x = 'a' * 10 ** 6 %}{{ ((x,) * 10 ** 6) | join }}",
    "replacing": "{% set x = 'a' * 10 ** 6 %}{{ x.replace('a', x) }}",
    "writing": "{% set x = 'a' * 10 ** 6 %}{% for a in range(99999) %}{{ x }}{% endfor %}",
}


@pytest.mark.skipif(not SIZES.exists(), reason="this system tells no process how much it has mapped")
@pytest.mark.parametrize("case", GREEDY)
def test_a_template_that_asks_for_much_memory_gets_none_and_is_said(case: str) -> None:
    given = tokenizer_with(GREEDY[case] + CHATML)
    ours = Tokenizer(given.backend_tokenizer)
    began, children = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    found = base_format(given, ours, ())
    assert time.monotonic() - began < 2 * chat_template.SECONDS
    assert "it takes over 256 MB of memory" in found.warning
    assert found.chat_format.sha256 == plain(ours).sha256
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss <= max(children, own + 400_000)


def test_a_template_that_counts_for_ever_in_one_call_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_template, "SECONDS", 0.5)
    began = time.monotonic()
    with pytest.raises(TemplateError, match="takes over"):
        pieces_of(ChatTemplate(tokenizer_with("{{ 9 ** (9 ** 9) }}" + CHATML)))
    assert time.monotonic() - began < 3


def test_a_template_that_numbers_its_turns_is_followed_and_the_difference_said() -> None:
    counted = CHATML.replace("{{ m.role }}", "{{ m.role }}{% if loop.index > 4 %} ({{ loop.index }}){% endif %}")
    given = tokenizer_with(counted)
    ours = Tokenizer(given.backend_tokenizer)
    found = base_format(given, ours, ())
    assert "(5)" in found.warning
    assert found.chat_format.name == "template"


def test_the_day_changes_no_format() -> None:
    dated = "{{ strftime_now('%d %b %Y') }}{{ date_string }}" + CHATML
    given = tokenizer_with(dated)
    text = ChatTemplate(given).text([("user", "hi")])
    assert text is not None
    assert text.startswith("26 Jul 202426 Jul 2024")


def test_another_template_is_another_format_and_other_ends_are_not() -> None:
    given = {name: tokenizer_with(template) for name, template in TEMPLATES.items()}
    ours = {name: Tokenizer(one.backend_tokenizer) for name, one in given.items()}
    found = {name: base_format(given[name], ours[name], ()).chat_format for name in given}
    assert len({one.sha256 for one in found.values()}) == len(found)
    again = base_format(given["chatml"], ours["chatml"], (1, 2)).chat_format
    assert again.sha256 == found["chatml"].sha256


def test_random_conversations_are_of_every_kind() -> None:
    made = list(conversations(300, random.randrange(10**6)))
    assert {messages[0][0] for messages in made} == {"system", "user", "assistant"}
    assert {messages[-1][0] for messages in made} == {"user", "assistant"}
    assert any("\n" in content for messages in made for _, content in messages)
