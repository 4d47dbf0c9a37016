"""Episodes become batches: text becomes token ids, exchanges become rows of tensors."""
