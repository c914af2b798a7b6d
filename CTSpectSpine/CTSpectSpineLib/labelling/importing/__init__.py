"""Labels that the user brings: files, numbering schemes, names, and the grid of the CT."""
