"""Addresses of files on a web server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from octopull.backends import web
from octopull.backends.contract import check_key
from octopull.kernel import names
from octopull.kernel.digest import Digest
from octopull.kernel.errors import InvalidName, Misuse

DIGEST = Digest.of(b"x")


@pytest.mark.parametrize(
    ("url", "key", "address"),
    [
        ("http://a/b", "c/d:e", "http://a/b/c/d:e"),
        ("http://a/b/", "c@d", "http://a/b/c@d"),
        ("http://a/b/{key}.bin?x={key}", "c/d", "http://a/b/c/d.bin?x=c%2Fd"),
        ("http://a/{digest}", f"n@{DIGEST}", f"http://a/{DIGEST}"),
        ("http://a/{namespace}/{hex}", f"n/m@{DIGEST}", f"http://a/n/m/{DIGEST.hex}"),
        ("http://a/f?d={digest}", f"n@{DIGEST}", f"http://a/f?d=sha256%3A{DIGEST.hex}"),
    ],
)
def test_urls_are_filled_in(url: str, key: str, address: str) -> None:
    assert web.filled(web.template(url), key) == address
    assert str(URL(address, encoded=True)) == address


@pytest.mark.parametrize(
    "url", ["http://a/{key}/{hex}", "http://a/{nme}", "http://a/{}", "http://a/{namespace}"]
)
def test_urls_that_name_no_file_are_refused(url: str) -> None:
    with pytest.raises(Misuse):
        web.template(url)


@pytest.mark.parametrize("key", ["n", "n@sha256:00", f"n@{DIGEST.hex}", ""])
def test_keys_that_name_no_digest_are_refused_where_one_is_needed(key: str) -> None:
    with pytest.raises(InvalidName):
        web.filled(web.template("http://a/{hex}"), key)


@given(st.from_regex(r"[A-Za-z0-9_.\-/]{1,40}", fullmatch=True), st.binary(max_size=4))
def test_every_namespace_makes_a_key(namespace: str, content: bytes) -> None:
    try:
        names.namespace(namespace)
    except InvalidName:
        return
    key = check_key(web.web_key(namespace, Digest.of(content)))
    told = web.filled("http://a/{namespace}|{digest}", key)
    assert told == f"http://a/{namespace}|{Digest.of(content)}"
