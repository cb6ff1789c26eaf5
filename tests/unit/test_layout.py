import io
import tarfile
from pathlib import Path

import pytest

from octopull.cli.layout import Layout, LayoutEntry, opened
from octopull.kernel.digest import Algorithm, Digest
from octopull.kernel.errors import InvalidManifest, Misuse, NotFound


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("blobs/sha256/" + "a" * 64)
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return path


def test_a_tar_of_a_layout_opens_and_nothing_but_its_parts_comes_out(tmp_path: Path) -> None:
    digests = [Digest.of(b"{}", algorithm) for algorithm in Algorithm]
    blobs = {f"blobs/{one.algorithm}/{one.hex}" for one in digests}
    others = ("../escaped", "/abs", "blobs/sha512/" + "a" * 64, "blobs/sha384/" + "a" * 96)
    tar = archive(
        tmp_path / "t.tar",
        {"./index.json": b"{}"}
        | {f"./{name}": b"{}" for name in blobs}
        | dict.fromkeys(others, b"x"),
    )
    with opened(tar) as layout:
        for digest in digests:
            assert layout.manifest(digest) == b"{}"
        found = {str(p.relative_to(layout.root)) for p in layout.root.rglob("*") if p.is_file()}
        assert found == {"index.json", *blobs}
    assert not (tmp_path / "escaped").exists()


def test_what_is_neither_folder_nor_tar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(b"noise" * 1000)
    with pytest.raises(Misuse), opened(tmp_path / "noise"):
        pass


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_manifest_with_other_bytes_is_refused(tmp_path: Path, algorithm: Algorithm) -> None:
    layout = Layout(tmp_path)
    digest = Digest.of(b"right", algorithm)
    with pytest.raises(NotFound):
        layout.manifest(digest)
    layout.room(digest).write_bytes(b"wrong")
    with pytest.raises(InvalidManifest):
        layout.manifest(digest)


def test_one_image_needs_no_name_and_of_several_the_named_one_is_taken(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    with pytest.raises(Misuse):
        layout.top("v1")
    layout.seal(LayoutEntry("type", str(Digest.of(b"1")), 1, {}))
    assert layout.top("any").digest == str(Digest.of(b"1"))
