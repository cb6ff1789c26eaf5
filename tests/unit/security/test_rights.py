"""What each kind of certificate is good for: every cell that matters, written out."""

import pytest

from octopull.security.rights import READ, RIGHTS, WRITE, may
from octopull.security.roles import Role

LETTERS = {
    "a": Role.AGENT, "o": Role.ORIGIN, "t": Role.TRACKER, "i": Role.TAG_INDEX, "p": Role.PROXY,
    "O": Role.OPERATOR,
}  # fmt: skip
BLOB = "/namespace/{namespace}/blobs/{digest}"
SESSION = "/namespace/{namespace}/uploads/{session}"
TABLE = {
    ("origin", "GET", "/metrics"): "aotipO",
    ("origin", "GET", "/peer"): "otipO",
    ("origin", "GET", BLOB): "otipO",
    ("origin", "HEAD", BLOB): "otipO",
    ("origin", "GET", f"{BLOB}/metainfo"): "otipO",
    ("origin", "POST", "/namespace/{namespace}/starts"): "otip",
    ("origin", "POST", f"{BLOB}/fetch"): "otip",
    ("origin", "PUT", SESSION): "oipO",
    ("origin", "DELETE", BLOB): "oipO",
    ("origin", "PUT", f"/internal{BLOB}"): "o",
    ("origin", "POST", "/internal/condemned"): "o",
    ("origin", "GET", "/internal/holdings/{host}"): "oO",
    ("origin", "POST", "/collect"): "i",
    ("origin", "GET", "/books"): "iO",
    ("origin", "PATCH", "/x/config/bandwidth"): "O",
    ("tracker", "POST", "/announce"): "a",
    ("tracker", "POST", "/agents"): "a",
    ("tracker", "GET", f"{BLOB}/metainfo"): "apO",
    ("tracker", "POST", "/namespace/{namespace}/starts"): "apO",
    ("tracker", "PUT", "/preheats/{id}"): "pO",
    ("tracker", "GET", "/new"): "",
    ("tag_index", "GET", "/tags/{tag}"): "aipO",
    ("tag_index", "GET", "/deletions"): "aipO",
    ("tag_index", "PUT", "/tags/{tag}/digest/{digest}"): "ipO",
    ("tag_index", "DELETE", "/tags/{tag}"): "ipO",
    ("tag_index", "POST", "/agreement/messages"): "i",
    ("tag_index", "POST", "/agreement/book"): "i",
    ("tag_index", "GET", "/agreement"): "aipO",
    ("tag_index", "POST", "/gc"): "iO",
    ("tag_index", "POST", "/replication/{remote}/reconcile"): "iO",
    ("tag_index", "GET", "/write-back"): "aipO",
}  # fmt: skip


@pytest.mark.parametrize("cell", TABLE, ids=" ".join)
def test_a_request_is_for_these_roles_and_no_others(cell: tuple[str, str, str]) -> None:
    allowed = {letter for letter, role in LETTERS.items() if may(*cell, frozenset({role}))}
    assert "".join(letter for letter in LETTERS if letter in allowed) == TABLE[cell]


def test_only_health_is_for_those_who_prove_nothing() -> None:
    for service in RIGHTS:
        for path in ("/", "/metrics", BLOB, "/tags/{tag}", "/healthy", "/health/x"):
            for method in READ | WRITE:
                assert not may(service, method, path, frozenset())
        assert may(service, "GET", "/health", frozenset())
        assert may(service, "GET", "/readiness", frozenset())


def test_whoever_is_several_may_do_what_any_of_them_may() -> None:
    both = frozenset({Role.AGENT, Role.OPERATOR})
    assert may("tag_index", "POST", "/gc", both)
    assert not may("tag_index", "POST", "/agreement/messages", both)
