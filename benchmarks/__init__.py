"""Measurements, as ratios from interleaved trials in one run."""
