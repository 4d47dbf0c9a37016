"""A dialogue becomes one token sequence that a causal language model of transformers continues (MAMLviaPP)."""
