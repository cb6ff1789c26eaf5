"""Which remotes a repository goes to, and with what: the file of rules, asked."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from octopull.config.replication import RemoteSettings, RulesSettings


@dataclass(frozen=True, slots=True)
class Route:
    """What of a repository goes to one remote, beside its tags and what they lead to."""

    deletes: bool
    referrers: bool


class Rules:
    """Of several rules that match a repository, the first that names a remote counts for it."""

    def __init__(self, settings: RulesSettings) -> None:
        self.remotes: Mapping[str, RemoteSettings] = {one.name: one for one in settings.remotes}
        self._rules = [(re.compile(one.match), one) for one in settings.rules]

    def routes(self, repository: str) -> dict[str, Route]:
        """By the names of the remotes that ``repository`` goes to."""
        found: dict[str, Route] = {}
        for pattern, rule in self._rules:
            if pattern.fullmatch(repository):
                route = Route(rule.deletes, rule.referrers)
                for remote in rule.remotes:
                    found.setdefault(remote, route)
        return found

    def route(self, repository: str, remote: str) -> Route | None:
        """What goes to ``remote``; None if nothing does."""
        return self.routes(repository).get(remote)
