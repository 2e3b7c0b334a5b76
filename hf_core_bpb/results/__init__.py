"""A finished run: what it consists of, its files, reading them back, comparing two."""
