"""What members of a group say to each other to agree on a log (Ongaro & Ousterhout 2014: Raft).

Names are the paper's: a *term* is numbered and has one leader at most, an *entry* is committed
once a majority has it on disk.
"""

from typing import Annotated

import msgspec

NUMBER_MAX = 2**53
Number = Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)]
"""A term, an index, a round or a birth: what a disk can keep, and more than there will ever be."""


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One change: opaque here, empty if it only marks that a term has begun."""

    term: Number
    payload: bytes


class Joins(msgspec.Struct, frozen=True, array_like=True):
    """The member born as ``birth`` may count as soon as its log reaches ``index``."""

    birth: Number
    index: Number


class _Message(msgspec.Struct, frozen=True, tag=True, array_like=True, kw_only=True):
    term: Number


class VoteAsked(_Message, frozen=True, tag=True, array_like=True, kw_only=True):
    """Whether the sender may lead ``term``; on ``trial``, whether it could (thesis, 9.6).

    ``asked_to``: the one that leads has asked it to (thesis, 3.10), so that it need not be silent.
    """

    last_index: Number
    last_term: Number
    trial: bool
    asked_to: bool = False


class Voted(_Message, frozen=True, tag=True, array_like=True, kw_only=True):
    """Whether it may."""

    granted: bool
    trial: bool


class Append(_Message, frozen=True, tag=True, array_like=True, kw_only=True):
    """Entries that follow the one at ``before_index``; the sender leads ``term``.

    ``round`` numbers what the leader said, so that it knows who has heard it since.
    """

    before_index: Number
    before_term: Number
    entries: tuple[Entry, ...]
    commit: Number
    round: Number
    joins: Joins | None = None


class Appended(_Message, frozen=True, tag=True, array_like=True, kw_only=True):
    """Up to ``index`` the logs are the same; without ``matched``, they may be, at best.

    ``birth`` is of a member that does not count yet, else 0.
    """

    matched: bool
    index: Number
    round: Number
    birth: Number = 0


class Greeting(_Message, frozen=True, tag=True, array_like=True, kw_only=True):
    """What the sender has: ``blank`` if nothing, ``founding`` if a book from when it was alone.

    ``counts``: it may vote. A greeting that is no ``answer`` is answered, with the ``birth`` of
    who asked: it may have lost its disk since.
    """

    blank: bool
    founding: bool
    counts: bool
    birth: Number
    answer: bool


class TakeOver(_Message, frozen=True, tag=True, array_like=True, kw_only=True):
    """The sender leads ``term``, and ends; the receiver has all of its log and should follow it."""


Message = VoteAsked | Voted | Append | Appended | Greeting | TakeOver
