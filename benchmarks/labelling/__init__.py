"""Accuracy of the built-in vertebra labeller."""
