"""What a user takes away from a run, in our format and in others'."""
