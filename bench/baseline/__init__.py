"""The obvious way to build it, written as one would: what the app is measured against."""
