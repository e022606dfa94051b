"""See what a run's parameters are going to be, without training."""
