"""Next-token probabilities become replies: search stands beside the model, not in it."""
