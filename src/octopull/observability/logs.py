"""Structured logs: an event name from the code, and fields; one JSON object or one line each."""

import logging
import sys
from enum import StrEnum

import structlog
from structlog.typing import FilteringBoundLogger, Processor


class LogFormat(StrEnum):
    """How lines look: for machines, or for people."""

    JSON = "json"
    TEXT = "text"


def get(service: str) -> FilteringBoundLogger:
    """The logger of ``service``; its lines carry the name."""
    logger: FilteringBoundLogger = structlog.get_logger(service=service)
    return logger


def configure(level: str, form: LogFormat) -> None:
    """Set up the whole process's logs, on standard error, from ``level`` up."""
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if form is LogFormat.JSON
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
