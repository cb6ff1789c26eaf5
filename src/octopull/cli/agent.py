"""``octopull agent``: a host's pull API, fed by the swarm."""

from octopull.cli.install_mirror import install_mirror
from octopull.cli.serve import service
from octopull.config.services import AgentConfig
from octopull.services.agent.app import run

agent = service(
    "agent",
    AgentConfig,
    run,
    "Run an agent: the pull API of one host, fed by the swarm.",
    install_mirror,
)
