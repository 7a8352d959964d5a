"""Use cases that run by the clock."""
