"""Verify the audit record that a deployment exports. It uses nothing of the app."""
