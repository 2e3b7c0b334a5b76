"""Finished runs held against each other, item by item and document by document."""
