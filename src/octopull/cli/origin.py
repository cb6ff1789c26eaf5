"""``octopull origin``: durable blobs, and seeds."""

from octopull.cli.drain import drain
from octopull.cli.serve import service
from octopull.config.services import OriginConfig
from octopull.services.origin.app import run

origin = service(
    "origin",
    OriginConfig,
    run,
    "Run an origin: durable blobs, their metainfo, and seeds.",
    drain,
)
