"""Runs that were made: found in a folder, listed, compared, drawn, and cleaned up after."""
