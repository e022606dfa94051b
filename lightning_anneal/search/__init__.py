"""Hyperparameter search: many runs from one config."""
