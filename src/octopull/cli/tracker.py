"""``octopull tracker``: who has what."""

from octopull.cli.serve import service
from octopull.config.services import TrackerConfig
from octopull.services.tracker.app import run

PURPOSE = """Run a tracker: who has what.

Several may share what they know in a Redis or Valkey server, which 'peer_store' in the
section names (docs/cluster.md); needs 'octopull[redis]'. Without it, each keeps it in memory.
"""

tracker = service("tracker", TrackerConfig, run, PURPOSE)
