"""What every room stands on: errors, files, processes, identity of hosts and ranks."""
