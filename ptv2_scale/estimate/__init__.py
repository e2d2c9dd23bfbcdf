"""What a recipe costs, as numbers, before anything is loaded."""
