"""A person's own exchanges, recalled by what is being answered."""
