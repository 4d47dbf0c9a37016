"""A task becomes episodes: support to learn from, query to judge by."""
