"""What processes cost: CPU seconds of a tree, peak memory, and the bill of a client run to its end."""

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


@dataclass(frozen=True)
class Bill:
    """What one client run took: wall and CPU seconds, and what it printed."""

    wall_s: float
    cpu_s: float
    output: str


def run(*words: str | Path) -> Bill:
    """Run a command to its end, with the kernel's own account of it and its children."""
    started = time.monotonic()
    process = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)  # fmt: skip
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode:
        raise RuntimeError(f"{words[0]} ended with {process.returncode}: {output[-2000:]}")
    return Bill(time.monotonic() - started, usage.ru_utime + usage.ru_stime, output)


def tree(roots: Sequence[int]) -> Iterator[int]:
    """``roots`` and all that descends from them."""
    parents: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdecimal() and (fields := _stat(int(entry.name))):
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += parents.get(pid, [])


def cpu_s(roots: Sequence[int]) -> float:
    """User and system seconds that the trees under ``roots`` have used, ended children too."""
    ticks = 0
    for pid in tree(roots):
        if fields := _stat(pid):
            ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS_PER_S


def peak_rss_mib(roots: Sequence[int]) -> float:
    """Peak resident memory of the trees under ``roots``, summed."""
    kib = 0
    for pid in tree(roots):
        try:
            status = (PROC / str(pid) / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        kib += sum(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line)
    return kib / 1024


def rss_mib(pid: int) -> float:
    """Resident memory of one process now."""
    pages = int((PROC / str(pid) / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def _stat(pid: int) -> list[str]:
    """Fields of ``/proc/pid/stat`` from the state on (proc(5)); none if the process is gone."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()
