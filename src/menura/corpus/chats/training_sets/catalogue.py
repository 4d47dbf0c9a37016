"""The kinds of files that language models are trained on, in the order in which they are looked for."""

from menura.corpus.chats.reading import ChatReader
from menura.corpus.chats.training_sets import (
    instructions,
    light,
    openai_messages,
    parlai,
    persona_sets,
    sharegpt,
    synthetic_persona_chat,
)

TRAINING_SETS: tuple[ChatReader, ...] = (
    ChatReader("messages", "OpenAI messages", openai_messages.looks_like, openai_messages.messages, starts=True),
    ChatReader("sharegpt", "ShareGPT", sharegpt.looks_like, sharegpt.messages, starts=True),
    ChatReader(
        "personality",
        "Hugging Face's Persona-Chat",
        persona_sets.looks_like_personality,
        persona_sets.personality_messages,
        starts=True,
    ),
    ChatReader("msc", "Multi-Session Chat", persona_sets.looks_like_msc, persona_sets.msc_messages, starts=True),
    ChatReader(
        "blended_skill_talk", "BlendedSkillTalk", persona_sets.looks_like_bst, persona_sets.bst_messages, starts=True
    ),
    ChatReader("light", "LIGHT", light.looks_like, light.messages, starts=True),
    ChatReader("instructions", "questions and answers", instructions.looks_like, instructions.messages, starts=True),
    ChatReader("parlai", "ParlAI text", parlai.looks_like, parlai.messages, starts=True),
    ChatReader(
        "synthetic_persona_chat",
        "Synthetic-Persona-Chat",
        synthetic_persona_chat.looks_like,
        synthetic_persona_chat.messages,
        starts=True,
    ),
)
