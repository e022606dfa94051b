"""Optimizers and LR schedulers by name."""
