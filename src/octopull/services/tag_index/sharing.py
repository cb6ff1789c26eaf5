"""Takes part in a book that several tag indexes share, and does what their leader alone does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from octopull.config.services import TagIndexConfig
from octopull.http.client import Http
from octopull.kernel.errors import Fault
from octopull.observability import logs
from octopull.runtime.tasks import Tasks
from octopull.services.tag_index.agreement import Agreement
from octopull.services.tag_index.outbox import Outbox
from octopull.services.tag_index.store import TagStore
from octopull.storage.group_log import GroupLog

log = logs.get("tag_index")
AGAIN_S = 1.0


@asynccontextmanager
async def shared(
    config: TagIndexConfig, http: Http, store: TagStore
) -> AsyncIterator[Agreement | None]:
    """The agreement with the others of ``config``; None if there are none."""
    folder = Path(config.data)
    path = folder / "agreement.sqlite"
    if len(config.tag_indexes) < 2:
        await asyncio.to_thread(_leave, store, path)
        yield None
        return
    others = [host for host in config.tag_indexes if host != config.name]
    kept = await asyncio.to_thread(GroupLog, path)
    try:
        async with Tasks() as tasks:
            outbox = Outbox(http, config.name, others, tasks, folder)
            sharing = Agreement(config.name, others, store.database, kept, outbox)
            tasks.start(sharing.run(), "agree")
            yield sharing
    finally:
        kept.close()


def _leave(store: TagStore, path: Path) -> None:
    """Alone, the book goes its own way: if it is shared again, that begins with this one."""
    if store.database.applied().index:
        store.database.leave()
    for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        file.unlink(missing_ok=True)


async def lead_by_turns(
    sharing: Agreement, store: TagStore, lead: Callable[[Tasks], Awaitable[None]]
) -> None:
    """Take over and ``lead`` whenever this one leads, and end that when it does no more."""
    while True:
        term = await sharing.until(leads=True)
        try:
            async with Tasks() as tasks:
                await asyncio.to_thread(store.take_over)
                await lead(tasks)
                await sharing.serve(term)
                await sharing.until(leads=False, but=term)
        except Fault as fault:
            log.info("tag_index.led_in_vain", reason=str(fault))
            await asyncio.sleep(AGAIN_S)
