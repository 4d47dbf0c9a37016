"""A paper's tables as rows that run: which recipes, how they are scored, in which order, by which rule."""
