"""The `jit` command. Each module is imported when its command is used."""
