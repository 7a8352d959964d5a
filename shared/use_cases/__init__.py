"""What the app does, written against its own interfaces."""
