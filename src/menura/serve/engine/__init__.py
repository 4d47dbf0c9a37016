"""Requests for replies become tokens: all that wait are read and continued in one batch, whoever they are for."""
