"""What a member is told (events), and what it orders (commands, to be carried out in order)."""

from dataclasses import dataclass

from octopull.consensus.messages import Entry, Message


@dataclass(frozen=True, slots=True)
class Received:
    """``peer`` said ``message``."""

    peer: str
    message: Message


@dataclass(frozen=True, slots=True)
class Ticked:
    """It is ``Member.wake_at_s``, or later."""


@dataclass(frozen=True, slots=True)
class Proposed:
    """Somebody wants ``payload`` to be in the log."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Asked:
    """``read`` wants to see all that was committed until now."""

    read: int


@dataclass(frozen=True, slots=True)
class Installed:
    """The book is ``peer``'s now, which led ``term``: up to ``index``, an entry of ``entry_term``."""

    peer: str
    term: int
    index: int
    entry_term: int


@dataclass(frozen=True, slots=True)
class Leaving:
    """The member is about to end: if it leads, another should."""


Event = Received | Ticked | Proposed | Asked | Installed | Leaving


@dataclass(frozen=True, slots=True)
class Promise:
    """Keep this on disk before anything is sent; ``birth`` is 0 if the member counts."""

    term: int
    voted_for: str
    birth: int


@dataclass(frozen=True, slots=True)
class Write:
    """Let ``entries`` follow the one at ``after`` on disk, before anything is sent."""

    after: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Rebase:
    """The log on disk begins behind ``index`` now, an entry of ``term``; nothing older is there.

    What follows stays if ``keep``.
    """

    index: int
    term: int
    keep: bool


@dataclass(frozen=True, slots=True)
class Apply:
    """These are committed: ``entries`` up to ``index``."""

    index: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Send:
    """Say ``message`` to ``peer``; it may get lost."""

    peer: str
    message: Message


@dataclass(frozen=True, slots=True)
class SendBook:
    """``peer`` lacks more than the log holds: let it have the book."""

    peer: str


@dataclass(frozen=True, slots=True)
class Current:
    """All that was committed before ``read`` asked is applied."""

    read: int


@dataclass(frozen=True, slots=True)
class Follow:
    """``leader`` leads ``term``, or nobody does; what was proposed and not applied is lost to us."""

    leader: str
    term: int


Command = Promise | Write | Rebase | Apply | Send | SendBook | Current | Follow
