"""Targets: the places in a live run that values are written to."""
