"""The field's libraries, each used as its users write it, on the same weights and the same ids."""
