"""A context becomes several replies, one per discrete latent, by one transformer (PLATO)."""
