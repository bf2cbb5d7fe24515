"""What can go wrong with a store. Every message names the table or file and where it lies."""


class StoreError(RuntimeError):
    """Base of all errors of this room."""


class MissingTable(StoreError):
    """A stage (or one version of it) that was never written."""


class CorruptTable(StoreError):
    """A table whose log or data files cannot be read."""


class MissingFile(StoreError):
    """A content-named file that is not in the store."""


class CorruptFile(StoreError):
    """A content-named file whose bytes no longer match its name."""


class HomeError(StoreError, ValueError):
    """A home that cannot be used: its path cannot be addressed, or it cannot be written to."""


class Unreachable(StoreError, OSError):
    """A bucket that does not answer, is not there, or refuses these credentials."""


class Locked(StoreError):
    """A lock that another process holds for longer than was to be waited."""


class Outrun(StoreError):
    """A table onto which other processes kept committing first."""


class DiskFull(StoreError):
    """A disk without room for what was to be written."""


class UnstorableColumn(StoreError, TypeError):
    """A column whose type no Delta table can hold, such as an all-null column without a type."""


class ComputeError(StoreError, ValueError):
    """A memoised function that did not return exactly one row a key."""
