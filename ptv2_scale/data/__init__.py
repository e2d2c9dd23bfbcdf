"""Rows from files or the hub, the order in which they are seen, and their batches."""
