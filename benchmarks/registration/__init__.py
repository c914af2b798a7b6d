"""Comparison of the registration with general tools on simulated pairs of known truth."""
