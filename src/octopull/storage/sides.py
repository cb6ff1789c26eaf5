"""The side files of a blob: named after it, and gone with it.

    <hex>.meta    its metainfo, written before the bytes
    <hex>.lone    empty: the blob was pushed for its own sake, and is never collected

A blob without metainfo has it made anew; side files without a blob are swept at a start.
"""

from pathlib import Path

from octopull.storage import durable

_META, _LONE = ".meta", ".lone"


def meta(blob: Path) -> Path:
    """Where the metainfo of the blob at ``blob`` is, or would be."""
    return blob.with_name(blob.name + _META)


def lone(blob: Path) -> Path:
    """The file whose being there says that the blob at ``blob`` is lone."""
    return blob.with_name(blob.name + _LONE)


def unlink(blob: Path) -> None:
    """Remove the blob at ``blob``, then its side files.

    Raises:
        FileNotFoundError: it isn't there.

    """
    blob.unlink()
    for side in (meta(blob), lone(blob)):
        side.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove torn files, and side files whose blob never came or went first; at a start alone."""
    names = {path.name for path in folder.iterdir()}
    for name in names:
        stem, _, ending = name.rpartition(".")
        torn = name.endswith(durable.TEMPORARY)
        orphan = f".{ending}" in {_META, _LONE} and stem not in names
        if torn or orphan:
            (folder / name).unlink(missing_ok=True)
