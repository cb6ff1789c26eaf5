"""What is said to a Redis or Valkey server that trackers share: one script, one round trip a batch.

A swarm is a sorted set: words about peers (placement/sharing.py), by the server's time at which they
were told, in microseconds. The script alone reads the clock, so trackers' clocks may differ.
"""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octopull.config.peer_store import PeerStoreSettings
from octopull.kernel.errors import Misuse, PeerFault, Unavailable
from octopull.placement import sharing
from octopull.placement.sharing import Batch, Errand

if TYPE_CHECKING:
    from redis.asyncio import Redis

VERSION = 1
"""Of keys and words; trackers of another version do not see each other's peers."""

MEMBERS_MAX = 50_000
"""Words kept of one swarm, as many as a table has members; the oldest go."""

CLOSE_S = 1.0
"""A server that went silent must not keep us from ending, or from trying again."""

CREDENTIALS_BYTES_MAX = 64 * 1024
_SCRIPT = """
local swarm, ttl_ms, members_max = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local cursor, heard_max, mine = tonumber(ARGV[3]), ARGV[4], ARGV[5]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local dead = now - ttl_ms * 1000
if #ARGV > 5 then
    for at = 6, #ARGV do redis.call('ZADD', swarm, now, ARGV[at]) end
    redis.call('ZREMRANGEBYSCORE', swarm, '-inf', dead)
    -- The clock of a server that takes over from another may be behind.
    redis.call('ZREMRANGEBYSCORE', swarm, now + 1, '+inf')
    redis.call('ZREMRANGEBYRANK', swarm, 0, -1 - members_max)
    redis.call('PEXPIRE', swarm, ttl_ms)
end
if cursor < 0 then return false end
if cursor > now then cursor = 0 end
local first = math.max(cursor, dead + 1)
local found = redis.call('ZREVRANGEBYSCORE', swarm, now, first, 'WITHSCORES', 'LIMIT', 0, heard_max)
local words = {}
for at = 1, #found, 2 do
    if string.sub(found[at], 1, #mine) ~= mine then
        words[#words + 1] = '[' .. (now - found[at + 1]) .. ',' .. string.sub(found[at], 2)
    end
end
return {now, '[' .. table.concat(words, ',') .. ']'}
"""


class RedisLink:
    """One connection at a time; ``teller`` is the name under which this tracker's words are kept."""

    def __init__(self, settings: PeerStoreSettings, teller: str, ttl_ms: int) -> None:
        """Raises Misuse: redis is not installed, or the authorities can't be read."""
        try:
            import redis.asyncio as _  # noqa: F401 - only whether it is there
        except ImportError as error:
            raise Misuse("a peer store in Redis needs redis: "
                         "pip install 'octopull[redis]'") from error  # fmt: skip
        if settings.authorities and not Path(settings.authorities).is_file():
            raise Misuse("the authorities of the peer store can't be read",
                         path=settings.authorities)  # fmt: skip
        self._settings = settings
        self._teller = teller
        self._ttl_ms = ttl_ms
        self._client: Redis | None = None
        self._script = ""

    async def open(self) -> None:
        """Connect, and see that the server does all that will be asked of it.

        Raises:
            Unavailable: there is none, or it doesn't. PeerFault: its answer makes no sense.

        """
        self._client = client = self._new_client()
        try:
            self._script = _text(await client.script_load(_SCRIPT))
        except Exception as error:
            raise Unavailable(_reason(error)) from error
        await self.probe()

    async def probe(self) -> None:
        """Have the server write and read something that nobody looks at.

        Raises:
            Unavailable: it doesn't. PeerFault: its answer makes no sense.

        """
        assert self._client is not None
        key = f"{self._settings.prefix}probe"
        words = (self._ttl_ms, 1, 0, 1, b"", b"[]")
        try:
            answer = await self._client.evalsha(self._script, 1, key, *words)
        except Exception as error:
            raise Unavailable(_reason(error)) from error
        _checked(answer)

    async def exchange(self, batch: Batch) -> dict[str, tuple[int, bytes]]:
        """Tell what ``batch`` tells; of swarms that it reads, how far they were read, and the words.

        Raises:
            Unavailable: the server doesn't answer, or refuses. PeerFault: its answer makes no sense.

        """
        assert self._client is not None
        pipeline = self._client.pipeline(transaction=False)
        for info_hash, errand in batch.errands.items():
            key = f"{self._settings.prefix}peers:{VERSION}:{info_hash}"
            pipeline.evalsha(self._script, 1, key, *self._arguments(errand, batch.heard_max))
        try:
            answers = await pipeline.execute()
        except Exception as error:
            # One that was started anew doesn't know the script, nor any peers.
            raise Unavailable(_reason(error)) from error
        return {
            info_hash: _checked(answer)
            for (info_hash, errand), answer in zip(batch.errands.items(), answers, strict=True)
            if errand.cursor is not None
        }

    async def close(self) -> None:
        """Hang up; what was under way is void."""
        if self._client is not None:
            with suppress(TimeoutError, OSError):
                async with asyncio.timeout(CLOSE_S):
                    await self._client.connection_pool.disconnect(inuse_connections=True)
            self._client = None

    def _arguments(self, errand: Errand, heard_max: int) -> list[int | bytes]:
        cursor = -1 if errand.cursor is None else errand.cursor
        words = [sharing.told(self._teller, member) for member in errand.tell.values()]
        return [self._ttl_ms, MEMBERS_MAX, cursor, heard_max, sharing.head(self._teller), *words]

    def _new_client(self) -> "Redis":
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        more: dict[str, Any] = {}
        if self._settings.credentials:
            more["username"], more["password"] = _credentials(self._settings.credentials)
        if self._settings.url.startswith("rediss:") and self._settings.authorities:
            more["ssl_ca_certs"] = self._settings.authorities
        # Deadlines and repeats are those of RedisPeers.
        return Redis.from_url(
            self._settings.url, protocol=2, retry=Retry(NoBackoff(), 0), socket_timeout=None,
            socket_connect_timeout=None, client_name="octopull-tracker", **more,
        )  # fmt: skip


def _text(answer: object) -> str:
    match answer:
        case bytes():
            return answer.decode("ascii")
        case str():
            return answer
        case _:
            raise PeerFault("the peer store's answer is none to a script")


def _checked(answer: object) -> tuple[int, bytes]:
    match answer:
        case [int(now), bytes(words)]:
            return now, words
        case _:
            raise PeerFault("the peer store's answer is none of the script")


def _credentials(path: str) -> tuple[str, str]:
    """User and password from the file.

    Raises:
        Unavailable: it can't be read, or holds something else.

    """
    try:
        with Path(path).open("rb") as file:
            text = file.read(CREDENTIALS_BYTES_MAX).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable("the credentials of the peer store can't be read") from error
    user, colon, password = text.partition("\n")[0].strip().partition(":")
    if not colon or not user:
        raise Unavailable("the credentials of the peer store are not user:password")
    return user, password


def _reason(error: Exception) -> str:
    """What may be told: errors of the client name hosts and commands, never a password.

    They are of any class: the client trusts its server, and stumbles over bytes that are no
    Redis's wherever it happens to look at them.
    """
    return f"{type(error).__name__}: {error}"[:200]
