"""Exports at work: predictions, and prompted models for one's own Python."""
