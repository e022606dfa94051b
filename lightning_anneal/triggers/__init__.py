"""What makes a value move because something happened in the run: signals, the events in them, and the responses."""
