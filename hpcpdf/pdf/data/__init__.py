"""Tables of scattering factors; every file names its source."""
