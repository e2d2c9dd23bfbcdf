"""Exit codes of every command."""

DONE = 0
INVALID_INPUT = 2
FAILED = 3
SAVED = 75
INTERRUPTED = 130
