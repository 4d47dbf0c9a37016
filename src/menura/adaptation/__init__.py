"""A model and a support set become persona weights: the weights in which one persona differs from the model."""
