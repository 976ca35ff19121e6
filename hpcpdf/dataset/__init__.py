"""Data sets: generation on any number of ranks, shards, the master file, splits and reading."""
