"""A trained model and held-out personas become scores."""
