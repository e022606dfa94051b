"""Models and data that the configs name, and a short script."""
