"""P-Tuning v2: trained keys and values in front of every layer's own."""
