"""The jinja2 of task files: it reaches no Python, calls what is listed here, and ends within bounds (pure)."""
