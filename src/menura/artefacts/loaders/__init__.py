"""Settings of a model become a loaded model, with vocabulary and initial weights; one module per family."""
