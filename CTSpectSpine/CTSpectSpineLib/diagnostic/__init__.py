"""Diagnostic value of the uptake against a reference: a block's response, or an outcome."""
