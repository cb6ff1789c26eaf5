"""The commands that follow from one event, in order."""

from dataclasses import dataclass, field

from octopull.swarm.connection import Connection
from octopull.swarm.events import Command, Send
from octopull.swarm.messages import Message


@dataclass(slots=True)
class Orders:
    """What the parts of an engine order while it handles an event."""

    commands: list[Command] = field(default_factory=list[Command])

    def add(self, command: Command) -> None:
        """One more command."""
        self.commands.append(command)

    def send(self, connection: Connection, message: Message) -> None:
        """Say ``message``."""
        self.commands.append(Send(connection.conn, message))

    def take(self) -> list[Command]:
        """Hand over what was ordered, and begin anew."""
        taken, self.commands = self.commands, []
        return taken
