"""How much memory a model's activations need, and where each of them will lie."""
