"""Just-in-time VM access from a terminal or a script: the client and the `jit` command."""

__version__ = "0.1.0"
