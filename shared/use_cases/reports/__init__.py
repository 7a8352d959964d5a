"""Reports for people and tools."""
