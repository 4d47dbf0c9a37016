"""A text as a file holds it becomes what a person wrote: mended, without placeholders and private details."""
