"""The physical scanner against closed forms, against PyTomography, and what its presets do."""
