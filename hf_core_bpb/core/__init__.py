"""The folder that evaluate.load reads the metric core from."""
