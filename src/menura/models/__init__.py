"""Batches become losses and next-token logits: one package per model family, one contract for all."""
