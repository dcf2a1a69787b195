"""Kernel libraries: what each runs, how a model is rewritten to suit it, and what it must not contain."""
