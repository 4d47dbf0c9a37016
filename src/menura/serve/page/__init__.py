"""A browser's request becomes a page, and the page asks ``/api`` for all that it shows."""
