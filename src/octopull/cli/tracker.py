"""``octopull tracker``: who has what."""

from octopull.cli.serve import service
from octopull.config.services import TrackerConfig
from octopull.services.tracker.app import run

tracker = service("tracker", TrackerConfig, run, "Run a tracker: who has what.")
