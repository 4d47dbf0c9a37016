"""Dialogues of words become replies through recurrent encoders and decoders (CMAML and its baselines)."""
