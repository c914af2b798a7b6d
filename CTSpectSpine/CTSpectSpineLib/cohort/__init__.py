"""Many patients: each an ordinary analysis, and tables and a page over all of them."""
