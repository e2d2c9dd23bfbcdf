"""The ranks of a run: where this process stands among them, and what they do together."""
