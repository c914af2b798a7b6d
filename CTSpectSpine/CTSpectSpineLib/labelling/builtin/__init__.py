"""The built-in labeller: a small network, then instances, names and outlines."""
