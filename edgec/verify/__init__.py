"""Comparison of the compiled model with its source."""
