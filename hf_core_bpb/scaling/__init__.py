"""Scaling: parameter and FLOP counts, laws fitted to runs, training plans and forecasts."""
