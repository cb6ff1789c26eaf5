"""HTTP servers: limits, faults turned into statuses, one line and one metric per request."""

import time
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from octopull.kernel.errors import Fault, NotFound, Unavailable
from octopull.observability import logs, metrics
from octopull.oci.errors import body, refusal

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
FAULT_HEADER = "Octopull-Fault"
BODY_BYTES_MAX = 8 * 1024 * 1024
HEADER_BYTES_MAX = 16 * 1024
READ_BYTES = 1024 * 1024
"""What one connection may hold unread: large, so that uploads wake Python seldom."""


def application(name: str, *, body_bytes_max: int = BODY_BYTES_MAX) -> web.Application:
    """An application whose handlers may raise ``Fault``.

    ``body_bytes_max`` bounds what ``request.read`` and ``request.json`` accept; streamed
    bodies (``request.content``) are bounded by their handlers.
    """
    return web.Application(
        middlewares=[_answering(name)],
        client_max_size=body_bytes_max,
        handler_args={
            "max_line_size": HEADER_BYTES_MAX,
            "max_field_size": HEADER_BYTES_MAX,
            "read_bufsize": READ_BYTES,
        },
    )


def _answering(name: str) -> Middleware:
    log, seconds = logs.get(name), metrics.HTTP_SECONDS.labels(name)

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.monotonic()
        try:
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
            response = _from_router(error)
        except (ConnectionError, TimeoutError) as error:
            log.info("request.broken", path=request.path[:200], reason=repr(error))
            response = _respond(Unavailable("the connection broke"))
        except Exception:
            log.exception("request.failed", path=request.path[:200])
            response = web.json_response(
                {"errors": [{"code": "UNKNOWN", "message": "internal error", "detail": {}}]},
                status=500,
            )
        metrics.HTTP_REQUESTS.labels(name, request.method, response.status).inc()
        seconds.observe(time.monotonic() - started)
        return response

    return answer


def _respond(fault: Fault) -> web.Response:
    return web.json_response(
        body(fault), status=refusal(fault).status, headers={FAULT_HEADER: fault.code}
    )


_ROUTER_CODES = {404: "NOT_FOUND", 405: "UNSUPPORTED", 413: "SIZE_INVALID"}


def _from_router(error: web.HTTPException) -> web.Response:
    """Aiohttp's own refusals (no such route, body too large) in the same shape as ours."""
    code = _ROUTER_CODES.get(error.status, "UNSUPPORTED")
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    return web.json_response(
        {"errors": [{"code": code, "message": error.reason.lower(), "detail": {}}]},
        status=error.status,
        headers=headers,
    )
