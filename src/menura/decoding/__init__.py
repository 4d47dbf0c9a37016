"""Next-token probabilities become replies: search is outside the model."""
