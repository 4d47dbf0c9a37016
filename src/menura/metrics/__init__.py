"""Samples become scores: one figure a metric, each with its interval and its signature."""
