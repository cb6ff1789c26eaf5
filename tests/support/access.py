"""Files of access for tests: users, tokens, rules; and what requests show."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import aiohttp
import bcrypt
import yaml

from octopull.cli.cluster import Cluster
from support.registry import Answer, Registry, manifest

USERS = ("alice", "bob", "carol", "root")
TOKEN = "t0ken-of-the-build-machine"
"""Of ``ci``, in the group ``builders``."""

SECRET = b"a layer that only the team may see"

RULES: list[dict[str, Any]] = [
    {"who": ["anyone"], "repositories": ["public/**"], "actions": ["pull"]},
    {"who": ["user:alice", "group:builders"], "repositories": ["team/**", "public/**"],
     "actions": ["pull", "push", "delete"]},
    {"who": ["user:bob"], "repositories": ["team/**"], "actions": ["pull"]},
    {"who": ["user:carol"], "repositories": ["other/**"], "actions": ["pull", "push"]},
    {"who": ["user:root"], "repositories": ["**"],
     "actions": ["pull", "push", "delete", "replicate", "admin"]},
]  # fmt: skip


def password(user: str) -> str:
    """What ``user`` has to say."""
    return f"{user}:s secret"


def basic(user: str, word: str | None = None) -> str:
    """The header of a login."""
    pair = f"{user}:{password(user) if word is None else word}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def hashed(word: str) -> str:
    """By bcrypt, as cheaply as may be."""
    return bcrypt.hashpw(word.encode(), bcrypt.gensalt(4)).decode()


def write_rules(path: Path, rules: list[dict[str, Any]] | None = None) -> str:
    """A file of rules; its name."""
    path.write_text(yaml.safe_dump({"rules": RULES if rules is None else rules}))
    return str(path)


def files(folder: Path) -> dict[str, Any]:
    """All that access is set by, but for tokens of short life."""
    folder.mkdir(parents=True, exist_ok=True)
    users = folder / "htpasswd"
    users.write_text("".join(f"{user}:{hashed(password(user))}\n" for user in USERS))
    tokens = folder / "tokens.yaml"
    by_hash = hashlib.sha256(TOKEN.encode()).hexdigest()
    tokens.write_text(f"tokens: [{{name: ci, sha256: '{by_hash}', groups: [builders]}}]")
    return {
        "policy": write_rules(folder / "policy.yaml"),
        "htpasswd": str(users),
        "tokens": str(tokens),
        "check_s": 0.05,
    }


def shown(user: str) -> dict[str, str]:
    """The same as a header of a request."""
    return {"Authorization": basic(user)}


class As(Registry):
    """One who shows the same with each request."""

    def __init__(self, session: aiohttp.ClientSession, address: str, shown: str | None) -> None:
        super().__init__(session, address)
        self._shown = {} if shown is None else {"Authorization": shown}

    async def __call__(self, method: str, path: str, data: Any = None, **headers: str) -> Answer:
        return await super().__call__(method, path, data, **{**self._shown, **headers})


class People:
    """Requests of each to proxy and agent."""

    def __init__(self, session: aiohttp.ClientSession, cluster: Cluster) -> None:
        self._session = session
        self._at = {"proxy": cluster.proxy.address, "agent": cluster.agents[0].address}

    def __call__(self, who: str | None, at: str = "proxy") -> As:
        """One of ``USERS``, or who is not logged in."""
        return As(self._session, self._at[at], None if who is None else basic(who))

    def showing(self, header: str, at: str = "proxy") -> As:
        """Whoever shows ``header`` as ``Authorization``."""
        return As(self._session, self._at[at], header)


async def push(who: Registry, repository: str, *layers: bytes) -> bytes:
    """An image with the tag v1; its manifest."""
    for blob in (b"{}", *layers):
        await who.push_blob(blob, repository)
    content = manifest(b"{}", *layers)
    answer = await who.push_manifest(repository, "v1", content)
    assert answer.status == 201, answer
    return content
