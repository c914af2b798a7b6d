"""Names of vertebrae: checking them, correcting them, and how far to trust them."""
