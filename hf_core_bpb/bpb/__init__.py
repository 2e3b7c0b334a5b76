"""The folder that evaluate.load reads the metric bpb from."""
