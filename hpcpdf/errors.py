"""Errors that users meet: each says what, what was expected, where, and how to fix it."""


class HpcPdfError(Exception):
    """Base of every error raised on purpose by hpcpdf."""


class ConfigError(HpcPdfError):
    """A configuration, option or argument cannot be used as given."""


class DataError(HpcPdfError):
    """An input file or data set cannot be read or does not hold what it should."""


class SolverError(HpcPdfError):
    """A numerical stage cannot go on."""


class LaunchError(HpcPdfError):
    """A job, rank or external service could not be started or reached."""
