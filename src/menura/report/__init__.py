"""Scores become tables and curves: to read in a terminal or a page, or to go on working with."""
