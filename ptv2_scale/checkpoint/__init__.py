"""Checkpoints: published whole or not at all, verified, recovered, replicated."""
