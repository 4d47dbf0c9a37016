"""Bases: the files of a causal language model become a network with its tokenizer, whole or not at all."""
