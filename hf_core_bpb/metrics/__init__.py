"""From sums of nats to decisions, accuracies, CORE, intervals and comparisons (pure)."""
