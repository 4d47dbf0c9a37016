"""Dialogues over words become replies by recurrent encoders and decoders (CMAML and the systems it quotes)."""
