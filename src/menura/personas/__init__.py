"""One person's dialogues become one persona: adapted weights, and a check on held-out dialogues."""
