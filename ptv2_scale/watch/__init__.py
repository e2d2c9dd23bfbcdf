"""A thread of every rank that watches: requests to stop, and ranks that die, hang or raise.

The first rank is the `Coordinator`; every other one is a `Worker`, with a connection to it that
carries one JSON object a line: a heartbeat with the progress so far, or a fault. The coordinator
decides which rank is at fault, says so once, and tells all workers to end; when it is the
coordinator that is lost, the workers see that by themselves. The thread needs nothing of the main
one, which may be waiting in a collective for a rank that will never come.

A run inside another program, such as a notebook, has an `InProcessWatch`: no thread, one rank.
"""
