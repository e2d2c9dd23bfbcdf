"""What is trained beside the head: the prefix encoder, its initial values and its file formats."""
