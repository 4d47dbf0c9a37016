"""Dialogues become tasks: one per persona, on splits that share no persona and no dialogue."""
