"""Scores become tables (Markdown, CSV, JSON) and curves (SVG)."""
