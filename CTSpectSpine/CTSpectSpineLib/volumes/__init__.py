"""Reading, checking and writing of volumes."""
