"""What a measured sample is, and what the instrument made of it."""
