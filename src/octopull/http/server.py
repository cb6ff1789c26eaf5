"""HTTP servers: limits, faults turned into statuses, one line and one metric per request."""

import math
import time
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from octopull.http.slowness import Patience, SlowClients
from octopull.kernel.errors import (
    Fault,
    InvalidRange,
    NotFound,
    Pending,
    TooMany,
    Unauthenticated,
    Unavailable,
)  # fmt: skip
from octopull.observability import logs, metrics
from octopull.oci.errors import OciCode, body, refusal

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
FAULT_HEADER = "Octopull-Fault"
PROGRESS_HEADER = "Octopull-Progress"
BODY_BYTES_MAX = 8 * 1024 * 1024
SLOW_CLIENTS = web.AppKey("slow_clients", SlowClients)


def application(
    name: str, *, body_bytes_max: int = BODY_BYTES_MAX, patience: Patience | None = None
) -> web.Application:
    """An application whose handlers may raise ``Fault``.

    ``body_bytes_max`` bounds what ``request.read`` and ``request.json`` accept; streamed
    bodies (``request.content``) are bounded by their handlers, all by ``patience``.
    """
    slow = SlowClients(patience or Patience())
    app = web.Application(middlewares=[_answering(name, slow)], client_max_size=body_bytes_max)
    app[SLOW_CLIENTS] = slow
    return app


def _answering(name: str, slow: SlowClients) -> Middleware:
    log, seconds = logs.get(name), metrics.HTTP_SECONDS.labels(name)

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.monotonic()
        try:
            with slow.watching(request):
                response = await handler(request)
        except Fault as fault:
            metrics.FAULTS.labels(name, fault.code).inc()
            # The reason goes to the log with its fields: clients get the sentence alone.
            # A miss is daily bread of every push and pull, and no news.
            say = log.debug if isinstance(fault, NotFound) else log.info
            say("request.refused", path=request.path[:200], fault=fault.code,
                reason=str(fault), **fault.details)  # fmt: skip
            response = _respond(fault)
        except web.HTTPException as error:
            response = _from_router(request, error)
        except (ConnectionError, TimeoutError) as error:
            log.info("request.broken", path=request.path[:200], reason=repr(error))
            response = _respond(Unavailable("the connection broke"))
        except Exception:
            # Top of the request: a client gets no traceback, and other requests go on.
            log.exception("request.failed", path=request.path[:200])
            response = web.json_response(
                {"errors": [{"code": "UNKNOWN", "message": "internal error", "detail": {}}]},
                status=500,
            )
        if slow.stopped(request):
            await _cut(request, response)
        metrics.HTTP_REQUESTS.labels(name, request.method, response.status).inc()
        seconds.observe(time.monotonic() - started)
        return response

    return answer


def json_answer(content: object, status: int = 200) -> web.Response:
    """``content`` as JSON."""
    return web.Response(
        status=status, body=msgspec.json.encode(content), content_type="application/json"
    )


def json_lines() -> web.StreamResponse:
    """An answer of JSON documents, each on a line of its own (``write_line``)."""
    return web.StreamResponse(headers={"Content-Type": "application/jsonl"})


async def write_line(response: web.StreamResponse, document: object) -> None:
    """``document`` as the next line."""
    await response.write(msgspec.json.encode(document) + b"\n")


async def _cut(request: web.Request, response: web.StreamResponse) -> None:
    """Answer, and don't wait for the rest of the body as aiohttp would."""
    response.force_close()
    await response.prepare(request)
    await response.write_eof()
    request.protocol.force_close()


def _respond(fault: Fault) -> web.Response:
    headers = {FAULT_HEADER: fault.code}
    if isinstance(fault, InvalidRange) and "size" in fault.details:
        headers["Content-Range"] = f"bytes */{fault.details['size']}"
    if isinstance(fault, TooMany):
        headers["Retry-After"] = str(math.ceil(float(str(fault.details.get("again_s", 1)))))
    if isinstance(fault, Pending):
        headers |= {"Retry-After": "1", PROGRESS_HEADER: str(fault.details.get("progress", 0))}
    if isinstance(fault, Unauthenticated) and "challenge" in fault.details:
        headers |= {
            "WWW-Authenticate": str(fault.details["challenge"]),
            # Old clients take a 401 without it for some other server's.
            "Docker-Distribution-Api-Version": "registry/2.0",
        }
    return web.json_response(body(fault), status=refusal(fault).status, headers=headers)


_ROUTER_CODES = {404: "NOT_FOUND", 405: "UNSUPPORTED", 413: "SIZE_INVALID"}


def _from_router(request: web.Request, error: web.HTTPException) -> web.Response:
    """Aiohttp's own refusals (no such route, body too large) in the same shape as ours."""
    code = _ROUTER_CODES.get(error.status, "UNSUPPORTED")
    if error.status == 404 and request.path.startswith("/v2/"):
        # A name that no route takes, such as one with a line break in it.
        code = OciCode.NAME_UNKNOWN.value
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    return web.json_response(
        {"errors": [{"code": code, "message": error.reason.lower(), "detail": {}}]},
        status=error.status,
        headers=headers,
    )
