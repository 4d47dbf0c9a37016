"""A context becomes several replies, one per value of a discrete latent, through one transformer (PLATO)."""
