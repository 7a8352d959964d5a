"""Network security groups."""
