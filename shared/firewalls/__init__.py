"""Firewall providers: one folder for each kind of firewall, the same files in each."""
