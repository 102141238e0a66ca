"""Losses: pure functions of tensors, with no parameters and no metrics."""
