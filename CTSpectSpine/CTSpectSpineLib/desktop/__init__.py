"""What a desktop panel needs and the command line does not: plain Python, without Qt and MRML."""
