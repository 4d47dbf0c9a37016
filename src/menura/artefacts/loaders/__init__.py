"""Settings of a family's models become a model that can reply, its weights in place."""
