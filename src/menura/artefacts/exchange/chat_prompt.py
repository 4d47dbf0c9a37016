"""How a chat is written for a base, as other programs need it: a Jinja template, raw text, the ids that end a reply."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from menura.artefacts.bases.base import LoadedBase
from menura.artefacts.bases.catalogue import CHATML
from menura.artefacts.loaders.causal_lm import chat_format_of
from menura.batches.chat_template import composed
from menura.batches.tokenizer import Tokenizer
from menura.models.causal_lm.config import CausalLmConfig

TEMPLATE = "chat_template.jinja"
# Our plain format: BOS where the tokenizer puts one, a line for the facts, a line for each turn.
PLAIN = """\
{{- BOS -}}
{%- for message in messages -%}
{%- set line = message['content'].splitlines() | join(' ') -%}
{%- set name = {'system': 'Facts', 'user': 'User', 'assistant': 'Reply'}[message['role']] -%}
{{- name + ': ' + line + '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- 'Reply:' -}}{%- endif -%}
"""


@dataclass(frozen=True)
class ChatPrompt:
    """A chat as an engine must be sent it.

    ``template`` is empty where no template says our format exactly; ``why`` tells then what is not the same. ``prompt``
    is a chat of one line as raw text and ``ids`` the same as token ids; a reply ends at any of ``stop_token_ids``.
    ``leading_blank`` tells that the reply begins with a blank that is not part of it.
    """

    template: str
    prompt: str
    ids: tuple[int, ...]
    stop_token_ids: tuple[int, ...]
    leading_blank: bool
    why: str = ""


def chat_prompt(
    settings: CausalLmConfig, base: LoadedBase, facts: Sequence[str] = (), line: str = "hello"
) -> ChatPrompt:
    """Return how a chat is written for a model with these settings; facts are the system message, a line each."""
    tokenizer = base.tokenizer
    form = chat_format_of(settings, base, tokenizer)
    template, why = _template(settings, base, tokenizer, form.warning)
    system: list[tuple[str, str]] = [("system", "\n".join(facts))] if facts else []
    ids = composed(form.chat_format, tokenizer, [*system, ("user", line)], prompt=True)
    return ChatPrompt(
        template, tokenizer.spelled(ids), ids, form.chat_format.ends, form.chat_format.reply_lead == " ", why
    )


def _template(settings: CausalLmConfig, base: LoadedBase, tokenizer: Tokenizer, warning: str) -> tuple[str, str]:
    """Return the template that writes what our format does, or an empty one and why there is none."""
    own: Any = base.hf_tokenizer.chat_template
    if settings.chat_format == "chat":
        return CHATML, ""
    if settings.chat_format == "auto" and own and not warning:
        return str(base.hf_tokenizer.get_chat_template()), ""
    if settings.chat_format == "plain" or not own or "plain text" in warning:
        return PLAIN.replace("BOS", repr(tokenizer.spelled(tokenizer.bos))), ""
    return "", warning
