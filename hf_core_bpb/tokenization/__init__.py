"""Encode text, count the bytes of token ids, and cut documents into windows."""
