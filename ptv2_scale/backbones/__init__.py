"""Frozen backbones: families as data, sharded loading, and the attention that takes a prefix."""
