"""What the app costs, measured against the obvious way to build it: python -m bench."""
