"""How often a test does what it does: ``make test`` takes the quick count, ``make test-full`` the full one."""

full = False  # set by conftest.py from the option --full, before any test is imported


def count(*, full_count: int, quick_count: int) -> int:
    """Return the count of this run."""
    return full_count if full else quick_count
