"""Finds what is wrong in a config, and what is legal but surely not meant, without training."""
