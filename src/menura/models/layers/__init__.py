"""Tensors become tensors: modules and functions that several model families share."""
