"""Commands for people who operate or audit a deployment. Never deployed."""
