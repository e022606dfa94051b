"""Phases of a run: many parameters moved at once, by time or by trigger."""
