"""Loading causal language models, and questions about them."""
