"""Finished runs for people to read: tables, pages, plots, trackers, model cards."""
