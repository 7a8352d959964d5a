"""The schemas of answers, by subject."""
