"""Persona, context and reply become one next token by routed attention (AR, AR+)."""
