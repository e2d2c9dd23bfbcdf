"""Ways to run trials: on this host or a hostfile's hosts, and as jobs of Slurm."""
