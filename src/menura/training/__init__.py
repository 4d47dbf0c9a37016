"""Settings, data and a model become trained weights in a run folder: one loop for every model and method."""
