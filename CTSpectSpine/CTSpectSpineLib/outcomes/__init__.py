"""Outcomes of treated patients over time: changes, responders, drop-out, subgroups."""
