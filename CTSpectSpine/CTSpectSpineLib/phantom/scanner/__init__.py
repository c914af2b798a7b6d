"""The scanners of the phantom: its CT and its SPECT."""
