"""Prompt tuning: trained input embeddings in front of the text."""
