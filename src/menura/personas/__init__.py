"""One person's dialogues become one persona."""
