"""Limits of peer traffic, read and changed while the process runs: ``/x/config/bandwidth``."""

import msgspec
from aiohttp import web

from octopull.config.services import check_rate
from octopull.kernel.errors import Misuse
from octopull.observability import logs
from octopull.runtime.bandwidth import Bandwidth, Rate

log = logs.get("transport")
PATH = "/x/config/bandwidth"


def add_bandwidth_routes(app: web.Application, bandwidth: Bandwidth) -> None:
    """GET tells the limits, PATCH changes those it names; null lifts one."""
    rates = bandwidth.rates

    async def tell(_: web.Request) -> web.Response:
        return _told(rates)

    async def change(request: web.Request) -> web.Response:
        for name, value in read_change(await request.read(), rates).items():
            rates[name].bytes_per_s = value
        log.info("bandwidth.changed", **{name: rate.bytes_per_s for name, rate in rates.items()})
        return _told(rates)

    app.add_routes([web.get(PATH, tell), web.patch(PATH, change)])


def read_change(body: bytes, known: dict[str, Rate]) -> dict[str, int | None]:
    """Limits by name.

    Raises:
        Misuse: unknown names, or values that are no rate.

    """
    try:
        change = msgspec.json.decode(body, type=dict[str, int | None])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Misuse(f"limits are whole numbers or null: {error}") from error
    unknown = sorted(change.keys() - known.keys())
    if unknown:
        raise Misuse(f"no such limit: {unknown[0][:80]}; there are {', '.join(known)}")
    for value in change.values():
        check_rate(value)
    return change


def _told(rates: dict[str, Rate]) -> web.Response:
    return web.json_response({name: rate.bytes_per_s for name, rate in rates.items()})
