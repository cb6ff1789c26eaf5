"""Pages of 100,000 tags and of 10,000 repositories through a proxy, against short lists.

What is listed is put straight into the tag index's database: pushing it would take an hour.
"""

import http.client
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from harness import ours
from harness.ours import Cluster, Meter
from harness.pairs import Line, Sample, Sides
from octopull.services.tag_index.database import Database

TAGS = 100_000
REPOSITORIES = 10_000
SHORT = 200
PAGE = 100
PAGES = 50
"""Pages read per run, spread over the list."""

DIGEST = f"sha256:{sha256(b'').hexdigest()}"


@contextmanager
def _tags(folder: Path) -> Iterator[Sides]:
    """A page of a repository of 100,000 tags, against one of 200."""
    tags = [f"v{number:06}" for number in range(TAGS)]
    rows = [("large", tag, tag, DIGEST) for tag in tags]
    rows += [("small", tag, tag, DIGEST) for tag in tags[:SHORT]]
    with ExitStack() as stack:
        cluster = stack.enter_context(_listed(folder, ["large", "small"], rows))
        yield _sides(cluster, cluster, "/v2/large/tags/list", "/v2/small/tags/list", tags)


@contextmanager
def _repositories(folder: Path) -> Iterator[Sides]:
    """A page of the catalog of 10,000 repositories, against one of 200."""
    names = [f"team{number // 100:03}/image{number % 100:02}" for number in range(REPOSITORIES)]
    with ExitStack() as stack:
        large = stack.enter_context(_listed(folder / "large", names, []))
        small = stack.enter_context(_listed(folder / "small", names[:SHORT], []))
        yield _sides(large, small, "/v2/_catalog", "/v2/_catalog", names)


@contextmanager
def _listed(
    folder: Path, repositories: Sequence[str], tags: Sequence[tuple[str, ...]]
) -> Iterator[Cluster]:
    """A cluster that holds ``repositories``, and rows of tags."""
    book = Database(folder / "data" / "tag-index" / "repositories.sqlite")
    with book.transaction():
        book.run_many("INSERT INTO manifests VALUES (?, ?, '', 1, NULL, NULL, '{}')",
                      [(name, DIGEST) for name in repositories])  # fmt: skip
        book.run_many("INSERT INTO tags VALUES (?, ?, ?, ?, 0)", tags)
    book.close()
    with ours.cluster(folder) as cluster:
        yield cluster


def _sides(long: Cluster, short: Cluster, path: str, short_path: str, names: list[str]) -> Sides:
    places = [names[at] for at in range(0, len(names) - PAGE, len(names) // PAGES)]
    few = [names[at % PAGE] for at in range(PAGES)]
    return Sides(
        lambda: _read(long.proxy, path, places),
        lambda: _read(short.proxy, short_path, few),
        Meter([long.pid]).rss_mib,
    )


def _read(base: str, path: str, places: Sequence[str]) -> Sample:
    """The median of milliseconds per page behind each of ``places``."""
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=120)
    took_ms = []
    for last in places:
        started = time.monotonic()
        connection.request("GET", f"{path}?n={PAGE}&last={last}")
        answer = connection.getresponse()
        body = answer.read()
        took_ms.append((time.monotonic() - started) * 1000)
        if answer.status != 200 or body.count(b",") < PAGE // 2:
            raise RuntimeError(f"{path}: {answer.status} {body[:200]!r}")
    connection.close()
    return Sample(statistics.median(took_ms))


LINES = [
    Line("list-tags", "ms", "a page of 200 tags", _tags, "< 50 ms a page"),
    Line("list-repositories", "ms", "a page of 200 repositories", _repositories, "< 50 ms a page"),
]
