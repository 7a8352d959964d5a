"""The triggers: decode, call one use case, encode."""
