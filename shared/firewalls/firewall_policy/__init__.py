"""Firewall Policy: one rule collection group of our own."""
