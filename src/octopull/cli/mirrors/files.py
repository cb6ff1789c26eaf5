"""The files of a host, or of an image of one: read, compared, backed up, replaced whole."""

import difflib
import glob
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from octopull.kernel.errors import Misuse
from octopull.kernel.units import MIB
from octopull.storage import durable
from octopull.storage.durable import disk_faults

BACKUP = ".octopull-backup"
FILE_BYTES_MAX = MIB
"""Above what anybody configures by hand."""

NEW_FILE_MODE = 0o644
"""As the packages of the runtimes have it; rootless ones read these files, too."""


@dataclass(frozen=True, slots=True)
class Edit:
    """What a file says and is to say; ``None`` stands for no file.

    ``foreign`` says that nothing in it was ours before, ``folder_too`` that its folder has no
    meaning without it.
    """

    path: Path
    before: str | None
    after: str | None
    foreign: bool = False
    folder_too: bool = False

    @property
    def backup(self) -> Path:
        """Where the file is kept as it was before the first change."""
        return self.path.with_name(self.path.name + BACKUP)

    @property
    def idle(self) -> bool:
        """Whether all is as it is to be."""
        return self.before == self.after

    def diff(self) -> str:
        """The change, unified; empty if there is none."""
        before, after = (
            "/dev/null" if text is None else str(self.path) for text in (self.before, self.after)
        )
        lines = difflib.unified_diff(_lines(self.before), _lines(self.after), before, after)
        return "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in lines
        )

    def apply(self) -> list[str]:
        """Make the change durable, the backup before it; what was done, a line each.

        Raises:
            Unavailable: the disk refuses.

        """
        with disk_faults(f"writing {self.path}"):
            return _delete(self) if self.after is None else _put(self, self.after)


@dataclass(frozen=True, slots=True)
class Files:
    """The files below ``root``; their names are absolute, as if it were ``/``."""

    root: Path

    def at(self, name: str) -> Path:
        """Where the file ``name`` is."""
        return self.root / name.lstrip("/")

    def matching(self, pattern: str) -> list[str]:
        """The names of what matches a shell pattern, in order."""
        below = glob.escape(str(self.root))
        found = glob.glob(f"{below}/{pattern.lstrip('/')}")  # noqa: PTH207 - any pattern will do
        return sorted("/" + os.path.relpath(path, self.root) for path in found)

    def read(self, name: str) -> str | None:
        """The text of a file; ``None`` if there is none.

        Raises:
            Misuse: what is there is no such file, or leads out of ``root``.
            Unavailable: it can't be read.

        """
        path = self.at(name)
        with disk_faults(f"reading {path}"):
            if not Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(self.root)):
                raise Misuse(f"{path} leads out of {self.root} through a symbolic link")
            if not os.path.lexists(path):
                return None
            told = path.lstat()
            if not stat.S_ISREG(told.st_mode) or told.st_size > FILE_BYTES_MAX:
                raise Misuse(f"{path} is not a regular file of at most {FILE_BYTES_MAX} bytes")
            content = path.read_bytes()
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise Misuse(f"{path} is no UTF-8 text: {error.reason}") from error

    def added(self, name: str, add: Callable[[str], str], drop: Callable[[str], str]) -> Edit:
        """The edit that ``add`` makes; ``drop`` takes away all that is ours.

        Raises:
            Misuse: the text can't be understood. Unavailable: as ``read``.

        """
        before, path = self.read(name), self.at(name)
        with naming(path):
            after = add(before or "")
            return Edit(path, before, after, before is not None and drop(before) == before)

    def dropped(self, name: str, drop: Callable[[str], str], *, folder_too: bool = False) -> Edit:
        """The edit that ``drop`` makes. A file that is left without a word was ours and goes.

        Unless its backup says that it was without a word before.

        Raises:
            Misuse: the text can't be understood. Unavailable: as ``read``.

        """
        before, path = self.read(name), self.at(name)
        if before is None:
            return Edit(path, None, None)
        with naming(path):
            after = drop(before)
        if before and not after and self.read(name + BACKUP) != "":
            return Edit(path, before, None, folder_too=folder_too)
        return Edit(path, before, after)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Say of which file a ``Misuse`` speaks."""
    try:
        yield
    except Misuse as fault:
        raise Misuse(f"{path}: {fault}") from fault


def _put(edit: Edit, after: str) -> list[str]:
    done = []
    durable.make_folder(edit.path.parent)
    if edit.foreign and os.path.lexists(edit.backup):
        done.append(f"{edit.backup} is of an earlier time and stays as it is")
    elif edit.foreign:
        durable.put(edit.backup, (edit.before or "").encode(), like=edit.path)
        done.append(f"kept what was there as {edit.backup}")
    durable.put(edit.path, after.encode(), like=None if edit.before is None else edit.path)
    if edit.before is None:
        edit.path.chmod(NEW_FILE_MODE)
    return [*done, f"wrote {edit.path}", *_settle(edit)]


def _delete(edit: Edit) -> list[str]:
    edit.path.unlink()
    durable.sync_folder(edit.path.parent)
    done = [f"deleted {edit.path}", *_settle(edit)]
    if edit.folder_too and not any(edit.path.parent.iterdir()):
        edit.path.parent.rmdir()
        durable.sync_folder(edit.path.parent.parent)
        done.append(f"deleted {edit.path.parent}")
    return done


def _settle(edit: Edit) -> list[str]:
    """Drop a backup that the file itself has become; name one that it has not."""
    if edit.foreign or not edit.backup.is_file():
        return []
    if edit.after is not None and edit.backup.read_bytes() == edit.after.encode():
        edit.backup.unlink()
        durable.sync_folder(edit.path.parent)
        return [f"deleted {edit.backup}: the file is as it was"]
    return [f"{edit.backup} has what was there before the first change"]


def _lines(text: str | None) -> list[str]:
    # Not splitlines: it also parts lines where these formats don't.
    return re.findall(r"[^\n]*\n|[^\n]+", text or "")
