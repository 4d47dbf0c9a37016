"""A file on disk becomes dialogues: every format has one reader, every defect one place and one code."""
