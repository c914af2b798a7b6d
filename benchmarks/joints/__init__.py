"""Accuracy, robustness, time and memory of the joint geometry; see ``__main__``."""
