"""The command line: the one place that knows options by their dashes."""
