"""OCI image layouts on disk (image-spec 1.1, "Image Layout"): a folder, or a tar of one."""

import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from octopull.kernel.digest import Digest
from octopull.kernel.errors import InvalidManifest, Misuse, NotFound
from octopull.oci.manifests import MANIFEST_BYTES_MAX

_PART = re.compile(
    r"oci-layout|index\.json|blobs/sha256/[0-9a-f]{64}|blobs/sha512/[0-9a-f]{128}", re.ASCII
)
COPY_BYTES = 1024 * 1024
NAME = "org.opencontainers.image.ref.name"


class LayoutEntry(msgspec.Struct, frozen=True, rename="camel"):
    """A descriptor of ``index.json``."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] = {}


class LayoutIndex(msgspec.Struct, frozen=True, rename="camel"):
    """``index.json``: what the layout holds."""

    manifests: list[LayoutEntry]
    schema_version: int = 2


@dataclass(frozen=True, slots=True)
class Layout:
    """A layout folder."""

    root: Path

    def blob(self, digest: Digest) -> Path:
        """Where a blob is, or belongs."""
        return self.root.joinpath("blobs", digest.algorithm, digest.hex)

    def room(self, digest: Digest) -> Path:
        """As ``blob``, in a folder that exists."""
        path = self.blob(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def manifest(self, digest: Digest) -> bytes:
        """A manifest's bytes, checked against its digest.

        Raises:
            NotFound: it isn't there. InvalidManifest: the bytes are other ones.

        """
        try:
            with self.blob(digest).open("rb") as file:
                content = file.read(MANIFEST_BYTES_MAX + 1)
        except FileNotFoundError:
            raise NotFound(f"{self.root} lacks the blob {digest}") from None
        if not digest.proves(content):
            raise InvalidManifest(f"{self.blob(digest)} has another digest")
        return content

    def top(self, tag: str) -> LayoutEntry:
        """The one image of the layout, or that which is named ``tag`` among several.

        Raises:
            Misuse: no layout, or no such image.

        """
        try:
            raw = (self.root / "index.json").read_bytes()
            entries = msgspec.json.decode(raw, type=LayoutIndex).manifests
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Misuse(f"{self.root} is no OCI layout: {error}") from error
        named = [one for one in entries if one.annotations.get(NAME) == tag]
        if len(named or entries) != 1:
            raise Misuse(f"{self.root} holds {len(entries)} images, and not one named {tag}")
        return (named or entries)[0]

    def seal(self, entry: LayoutEntry) -> None:
        """Write the files that make the folder a layout, with ``entry`` its one image."""
        (self.root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        content = msgspec.json.encode(LayoutIndex(manifests=[entry]))
        temporary = self.root / "index.json.new"
        temporary.write_bytes(content)
        temporary.replace(self.root / "index.json")


@contextmanager
def opened(path: Path) -> Iterator[Layout]:
    """A layout folder, or the layout inside a tar, unpacked for the time of the block.

    Raises:
        Misuse: neither.

    """
    if path.is_dir():
        yield Layout(path)
        return
    try:
        with tarfile.open(path) as archive, tempfile.TemporaryDirectory() as folder:
            _extract(archive, Path(folder))
            yield Layout(Path(folder))
    except tarfile.TarError as error:
        raise Misuse(f"{path} is neither a layout folder nor a tar of one: {error}") from error


def _extract(archive: tarfile.TarFile, folder: Path) -> None:
    """Copy the files a layout consists of; nothing else in the tar has a place in one."""
    for member in archive:
        name = member.name.removeprefix("./")
        wanted = member.isfile() and _PART.fullmatch(name)
        source = archive.extractfile(member) if wanted else None
        if source is not None:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with source, path.open("wb") as target:
                shutil.copyfileobj(source, target, COPY_BYTES)
