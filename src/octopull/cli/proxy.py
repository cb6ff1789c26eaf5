"""``octopull proxy``: the OCI API in front of a cluster."""

from octopull.cli.serve import service
from octopull.config.services import ProxyConfig
from octopull.services.proxy.app import run

proxy = service(
    "proxy", ProxyConfig, run, "Run a proxy: the OCI push and pull API in front of a cluster."
)
