"""Text to token ids, the bytes of every id, and the windows that documents are scored in."""
