"""CORE and bits per byte of one model, from options to results."""
