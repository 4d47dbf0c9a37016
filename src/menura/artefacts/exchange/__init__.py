"""Personas and bases leave for other programs, and LoRA of theirs becomes a persona."""
