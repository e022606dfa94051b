"""Draws values over time: on a terminal, and with matplotlib. Knows no schedule and no run."""
