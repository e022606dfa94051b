"""Controllers: values that steer themselves by what the run shows."""
