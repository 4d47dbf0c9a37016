"""Dialogues become tasks: one per persona, on sides that share no persona and no dialogue."""
