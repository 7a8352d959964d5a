"""The app's cost, measured against the obvious way to build it: python -m bench."""
