"""Stored rows across versions: what the version before wrote and reads, and what this one does."""
