"""Ways to start ranks, one file each, found by name in `registry`.

Backends of hosts bring a launch to its hosts: `local`, `ssh`, `pdsh`, `slurm`. Backends of ranks
start the ranks of one host: `deepspeed`, `torchrun`, `accelerate`. A new one is a class of `base`
in a file of its own, and its entry in the registry.
"""
