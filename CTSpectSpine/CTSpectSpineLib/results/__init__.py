"""The results folder: its files, written whole and read with checks."""
