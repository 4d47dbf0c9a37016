"""Settings become trained weights: one loop for every model and method."""
