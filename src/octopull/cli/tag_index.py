"""``octopull tag-index``: what a tag stands for."""

from octopull.cli.serve import service
from octopull.config.services import TagIndexConfig
from octopull.services.tag_index.app import run

tag_index = service("tag-index", TagIndexConfig, run, "Run a tag index: tag to manifest digest.")
