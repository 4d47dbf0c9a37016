"""What this process has taken of the machine, and how much more it may take; Windows says and limits nothing of it."""

import sys

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

KIBIBYTE = 1024  # bytes


def peak_memory() -> int:
    """Return the most bytes of memory that this process has had; 0 where the system does not say."""
    if resource is None:
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * KIBIBYTE


def page_size() -> int:
    """Return the bytes of one page of memory."""
    return 4 * KIBIBYTE if resource is None else resource.getpagesize()


def limit_address_space(most: int) -> None:
    """Let this process map at most so many bytes; MemoryError beyond. A stricter limit stays."""
    if resource is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def limit_processor(seconds: int) -> None:
    """Let this process take so many seconds of a processor, and be killed then."""
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
