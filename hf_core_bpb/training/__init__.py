"""Counts, measurements and alerts while a model trains."""
