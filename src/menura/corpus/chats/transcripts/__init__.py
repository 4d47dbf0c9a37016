"""Talk that people or other programs wrote down becomes messages: tables, subtitles, plays, lines with names."""
