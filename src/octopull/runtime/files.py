"""How many files and sockets this process may have open."""

import resource

FILES_UNLIMITED = 1 << 30


def files_max() -> int:
    """So many files and sockets this process may open now."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return FILES_UNLIMITED if soft == resource.RLIM_INFINITY else soft


def raise_file_limit() -> int:
    """Lift the soft limit to the hard one; returns it.

    A seeder holds a file per blob and a socket per peer: the usual 1,024 end soon.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
