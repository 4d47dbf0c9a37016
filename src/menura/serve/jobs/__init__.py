"""What somebody uploaded becomes a persona, in a process of its own that may be killed at any moment."""
