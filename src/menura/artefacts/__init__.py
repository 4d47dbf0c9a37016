"""Weights become files, and files become weights: bases, checkpoints, personas; written atomically."""
