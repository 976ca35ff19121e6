"""Data sets of clusters and their PDFs in HDF5."""
