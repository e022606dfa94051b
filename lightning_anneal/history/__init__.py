"""Reads what happened in a run from what its loggers and the audit have written, and draws it."""
