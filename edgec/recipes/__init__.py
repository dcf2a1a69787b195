"""Recipes: how a model is quantized, what that costs in accuracy, and the cheapest one within a budget."""
