"""Stored rows: one file for each kind, and how they are written and read."""
