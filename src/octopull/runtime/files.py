"""How many files and sockets this process may have open."""

import resource


def raise_file_limit() -> int:
    """Lift the soft limit to the hard one; returns it.

    A seeder holds a file per blob and a socket per peer: the usual 1,024 end soon.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
