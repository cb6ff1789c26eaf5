"""What an HDFS url and its options say, and keys as names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopull.backends import hdfs, webhdfs
from octopull.backends.contract import check_key
from octopull.config.backends import BackendSettings
from octopull.kernel.errors import InvalidName, Misuse

KEYS = st.text(alphabet="ab0._-:@+=~/", min_size=1, max_size=20)


def settings(url: str, **options: str) -> BackendSettings:
    return BackendSettings(url=url, options=options)


@pytest.mark.parametrize(
    ("url", "options", "namenodes", "root"),
    [
        ("hdfs://a", {}, ["http://a:9870"], ""),
        ("hdfs://a:1,b:2/", {}, ["http://a:1", "http://b:2"], ""),
        ("hdfs://a,b:2/x/y/", {"tls": "true"}, ["https://a:9870", "https://b:2"], "/x/y"),
        ("hdfs://[::1]:1/x%20y", {}, ["http://[::1]:1"], "/x y"),
    ],
)
def test_urls_name_namenodes_and_a_folder(
    url: str, options: dict[str, str], namenodes: list[str], root: str
) -> None:
    assert webhdfs.namenodes(settings(url, **options)) == namenodes
    assert hdfs.root(url) == root


@pytest.mark.parametrize(
    "url", ["hdfs://a,/x", "hdfs://a:0/x", "hdfs://a:99999/x", "hdfs://,a", "hdfs://a:b/x"]
)
def test_urls_without_usable_namenodes_are_refused(url: str) -> None:
    with pytest.raises(Misuse):
        webhdfs.namenodes(settings(url))


@pytest.mark.parametrize("url", ["hdfs://a/x/../y", "hdfs://a//x", "hdfs://a/x:y", "hdfs://a/./x"])
def test_urls_that_name_no_folder_are_refused(url: str) -> None:
    with pytest.raises(Misuse):
        hdfs.root(url)


async def test_options_that_there_are_not_are_refused() -> None:
    with pytest.raises(Misuse, match="replication"):
        async with hdfs.connected(settings("hdfs://a", usr="x")):
            pass


@given(st.lists(KEYS, min_size=2, max_size=2))
def test_keys_and_their_names_are_in_one_order(keys: list[str]) -> None:
    try:
        one, other = map(check_key, keys)
    except InvalidName:
        return
    assert hdfs._decoded(hdfs._encoded(one)) == one
    assert ":" not in hdfs._encoded(one)
    assert (one < other) == (hdfs._encoded(one) < hdfs._encoded(other))
