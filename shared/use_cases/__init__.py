"""Use cases, written against the app's own interfaces."""
