"""Batches become losses and next-token probabilities: one model, one file."""
