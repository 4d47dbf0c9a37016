"""A model and a support set become persona weights: what one persona differs in."""
