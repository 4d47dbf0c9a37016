"""Samples become scores: one figure per metric, with an interval and a signature."""
