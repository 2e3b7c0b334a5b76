"""What is counted, measured and watched while a model trains."""
