"""A thread of every rank that watches: requests to stop, and ranks that die, hang or raise.

Each rank but the first holds a connection to the first one. What goes over it is one JSON object
a line: that the rank is alive and how far it has got, or that it has failed. The first rank
decides which rank is at fault, says so once, and tells all others to end; when it is the first
rank that is lost, the others see that by themselves. The thread needs nothing of the main one,
which may be waiting in a collective for a rank that will never come.
"""
