"""The side files of a blob: named after it, and gone with it.

    <hex>.meta    its metainfo, written before the bytes
    <hex>.lone    empty: the blob was pushed for its own sake, and is never collected
    <hex>.backed  storage that is not ours has the blob, too: a line for each namespace under which
    <hex>.unspread  empty: the blob was pushed here, and as far as is known has too few copies

A blob without metainfo has it made anew; side files without a blob are swept at a start.
"""

import os
from pathlib import Path

from octopull.storage import durable

_META, _LONE, _BACKED, _UNSPREAD = ".meta", ".lone", ".backed", ".unspread"
NOTES_BYTES_MAX = 64 * 1024
"""A blob may be pushed under any number of namespaces: the first are remembered."""


def meta(blob: Path) -> Path:
    """Where the metainfo of the blob at ``blob`` is, or would be."""
    return blob.with_name(blob.name + _META)


def lone(blob: Path) -> Path:
    """The file whose being there says that the blob at ``blob`` is lone."""
    return blob.with_name(blob.name + _LONE)


def backed(blob: Path) -> Path:
    """The file whose being there says that the blob at ``blob`` is elsewhere, too."""
    return blob.with_name(blob.name + _BACKED)


def unspread(blob: Path) -> Path:
    """The file whose being there says that the blob at ``blob`` may have too few copies."""
    return blob.with_name(blob.name + _UNSPREAD)


def note_backed(blob: Path, namespace: str) -> int:
    """Add ``namespace`` to those of the blob at ``blob``; the file, to be synced and closed."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    fd = os.open(backed(blob), flags, 0o600)
    try:
        held = os.pread(fd, NOTES_BYTES_MAX, 0)
        known = namespace.encode() in held.split(b"\n")
        # Behind a line that was torn a new one begins.
        line = b"\n" * (held[-1:] not in {b"", b"\n"}) + namespace.encode() + b"\n"
        if not known and len(held) + len(line) <= NOTES_BYTES_MAX:
            os.write(fd, line)
    except BaseException:
        os.close(fd)
        raise
    return fd


def backed_under(blob: Path) -> list[str]:
    """The namespaces that ``note_backed`` was told."""
    try:
        lines = backed(blob).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    return [line.decode(errors="replace") for line in lines if line]


def unlink(blob: Path) -> None:
    """Remove the blob at ``blob``, then its side files.

    Raises:
        FileNotFoundError: it isn't there.

    """
    blob.unlink()
    for side in (backed(blob), meta(blob), lone(blob), unspread(blob)):
        side.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove torn files, and side files whose blob never came or went first; at a start alone."""
    names = {path.name for path in folder.iterdir()}
    for name in names:
        stem, _, ending = name.rpartition(".")
        torn = name.endswith(durable.TEMPORARY)
        orphan = f".{ending}" in {_META, _LONE, _BACKED, _UNSPREAD} and stem not in names
        if torn or orphan:
            (folder / name).unlink(missing_ok=True)
