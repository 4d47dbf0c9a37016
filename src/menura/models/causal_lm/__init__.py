"""Dialogues become one sequence that a causal language model of transformers continues (MAMLviaPP)."""
