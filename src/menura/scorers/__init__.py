"""Texts become verdicts: does a reply agree with a fact, and which emoji would it stand beside."""
