"""Settings become runs: one training loop, one evaluation, and a recipe for every named experiment."""
