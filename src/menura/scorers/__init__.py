"""Texts become labels of trained classifiers: does a reply entail a fact, which emoji fits a reply."""
