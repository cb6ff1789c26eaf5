"""The process that ``forks.py`` has fork: it is told line by line what to run, or whose exit code."""

import ctypes
import gc
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from octopull.cli.main import VERBS, main, verb

NEW_NET = 0x40000000
DEATH_SIGNAL = 1
FAILED = 70


def serve() -> None:
    """Until there are no more lines."""
    for name in VERBS:
        verb(name)
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        if "code" in order:
            print(os.waitstatus_to_exitcode(os.waitpid(order["code"], 0)[1]), flush=True)
            continue
        pid = os.fork()
        if not pid:
            run(order)
        print(pid, flush=True)


def run(order: Mapping[str, Any]) -> None:
    """Be that command; this does not return."""
    code = FAILED
    try:
        settle(order)
        sys.argv = ["octopull", *order["words"]]
        main()
        code = 0
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else int(done.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        raise
    finally:
        sys.stdout.flush()
        os._exit(code)


def settle(order: Mapping[str, Any]) -> None:
    """Take the place that it has: its network, its clock, its log."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(DEATH_SIGNAL, signal.SIGKILL)
    out = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, fd in enumerate((nothing, out, out)):
        os.dup2(fd, number)
    if order["namespace"]:
        with Path("/run/netns", order["namespace"]).open() as namespace:
            entered = libc.setns(namespace.fileno(), NEW_NET)
        assert entered == 0, os.strerror(ctypes.get_errno())
    os.environ.update(order["environment"])
    print(f"--- started at {time.time():.3f}, pid {os.getpid()}", flush=True)


if __name__ == "__main__":
    serve()
