"""Everything the triggers share: the domain, the use cases, the adapters and their wiring."""
