"""Who starts a service that anybody may use is told, once and loudly."""

import pytest
from structlog.testing import capture_logs

from octopull.cli.serve import warn_of_open_doors
from octopull.config.access import AccessSettings
from octopull.config.services import Listen, OriginConfig, ProxyConfig
from octopull.config.tls import Clients, Tls

HOSTS = ["127.0.0.1:5010"]


def told(config: object) -> list[str]:
    with capture_logs() as lines:
        warn_of_open_doors("proxy", config)
    assert all(line["log_level"] == "warning" for line in lines)
    return [line["event"] for line in lines]


def test_a_proxy_without_access_says_that_it_is_open_and_no_other_does() -> None:
    assert told(ProxyConfig(origins=HOSTS, tag_indexes=HOSTS)) == ["access.open"]
    guarded = AccessSettings(policy="policy.yaml")
    assert told(ProxyConfig(origins=HOSTS, tag_indexes=HOSTS, access=guarded)) == []
    assert told(OriginConfig(data="data")) == []


@pytest.mark.parametrize(
    ("admin", "expected"),
    [
        (Listen(port=5009), []),
        (Listen(host="0.0.0.0", port=5009), ["admin.open"]),
        (Listen(host="0.0.0.0", port=5009, tls=Tls(certificate="c", key="k")), ["admin.open"]),
        (Listen(host="0.0.0.0", port=5009, tls=Tls(
            certificate="c", key="k", authority="a", clients=Clients.REQUIRED)), []),
    ],
)  # fmt: skip
def test_an_admin_port_that_others_reach_is_told_unless_it_requires_certificates(
    admin: Listen, expected: list[str]
) -> None:
    access = AccessSettings(policy="policy.yaml")
    config = ProxyConfig(origins=HOSTS, tag_indexes=HOSTS, access=access, admin=admin)
    assert told(config) == expected
