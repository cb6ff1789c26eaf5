"""One connection: what it may hold, and what is said to those that speak no HTTP."""

import asyncio

from aiohttp import web

from octopull.observability import logs, metrics
from octopull.oci.errors import OciCode

HEADER_BYTES_MAX = 16 * 1024
READ_BYTES = 1024 * 1024
"""What one connection may hold unread: large, so that uploads wake Python seldom."""

REASON_CHARACTERS_MAX = 120
"""Of what the parser says: it may quote a long line."""

log = logs.get("http")


class Protocol(web.RequestHandler):
    """A connection to ``server``, which is of ``service``."""

    __slots__ = ("_service",)

    def __init__(self, server: web.Server, service: str) -> None:
        super().__init__(
            # No log of accesses is None, which aiohttp's annotation leaves out.
            server, loop=asyncio.get_running_loop(), access_log=None,  # type: ignore[arg-type]
            max_line_size=HEADER_BYTES_MAX, max_field_size=HEADER_BYTES_MAX,
            read_bufsize=READ_BYTES,
            # Bodies are stored as they are sent, and nothing unpacks itself beyond a limit.
            auto_decompress=False,
        )  # fmt: skip
        self._service = service

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:  # fmt: skip
        """The answer to what is no request, in the form of all others.

        Of itself aiohttp logs a traceback, for whatever a stranger sends.
        """
        if status >= 500:
            return super().handle_error(request, status, exc, message)
        told = " ".join((message or "").split())[:REASON_CHARACTERS_MAX]
        log.info("request.malformed", service=self._service, reason=told)
        metrics.FAULTS.labels(self._service, "malformed").inc()
        answer = web.json_response(
            {
                "errors": [
                    {"code": OciCode.UNSUPPORTED, "message": f"no HTTP: {told}", "detail": {}}
                ]
            },
            status=status,
        )
        answer.force_close()
        return answer
