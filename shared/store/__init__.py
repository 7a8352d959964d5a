"""Stored rows: one file for each store, and how they are written and read."""
