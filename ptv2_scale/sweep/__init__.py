"""Many runs as one command: a grid or a search of recipes, whose state outlives its processes."""
