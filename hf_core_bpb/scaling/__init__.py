"""Counts that scaling is read against, and laws fitted from runs."""
