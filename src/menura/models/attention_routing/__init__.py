"""Persona, context and reply so far become the next token through attention routing (AR, AR+)."""
