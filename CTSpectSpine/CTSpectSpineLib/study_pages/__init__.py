"""Pages and tables of studies: sections of words, tables and figures; they need no network."""
