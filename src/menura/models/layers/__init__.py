"""Tensors become tensors: modules and functions that several families share."""
