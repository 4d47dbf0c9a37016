"""Words typed become one call each; what a person reads is printed here and nowhere else."""
