"""Weights become files, and files weights again: bases, checkpoints, personas; written whole or not at all."""
