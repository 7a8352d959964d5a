"""Everything that runs the app on your machine: the local stack. Never deployed."""
