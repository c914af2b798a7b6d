"""Killed commands and full disks."""
