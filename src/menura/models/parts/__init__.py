"""Pieces that more than one model is built from become whole models one floor up."""
