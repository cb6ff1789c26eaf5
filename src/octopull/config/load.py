"""From a YAML document and the environment to a frozen config object; every error at once."""

import difflib
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec
import yaml

from octopull.kernel.errors import Fault, Misuse

T = TypeVar("T")
ENVIRONMENT_PREFIX = "OCTOPULL_"
FILE_BYTES_MAX = 1 << 20
_NO_YAML = yaml.YAMLError, ValueError, RecursionError
"""PyYAML lets pass what Python says of dates and numbers that are none, and of endless nesting."""


def load(
    shape: type[T], section: str, document: Mapping[str, Any], environment: Mapping[str, str]
) -> T:
    """A ``shape`` from ``document[section]``, overridden by the environment.

    ``OCTOPULL_AGENT__LISTEN__PORT=6000`` sets ``listen.port`` of the section ``agent``;
    a value is read as YAML.

    Raises:
        Misuse: the message names every field at fault, a line each.

    """
    given = document.get(section)
    values: dict[str, Any] = dict(given) if isinstance(given, Mapping) else {}
    errors: list[str] = []
    if given is not None and not isinstance(given, Mapping):
        errors.append(f"{section}: must be a mapping of settings")
    prefix = f"{ENVIRONMENT_PREFIX}{section.upper()}__"
    for name, text in environment.items():
        if name.startswith(prefix):
            _override(values, name.removeprefix(prefix).lower().split("__"), text)
    made = _build(shape, section, values, errors)
    if errors or made is None:
        raise Misuse("\n".join(["the configuration is not usable:", *errors]), errors=errors)
    return made


def read(path: Path) -> dict[str, Any]:
    """The mapping in the YAML file at ``path``.

    Raises:
        Misuse: unreadable, too large, not YAML, or no mapping.

    """
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise Misuse(f"{path}: configuration files end at {FILE_BYTES_MAX} bytes")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misuse(f"{path}: {error}") from error
    return parse(text, str(path))


def parse(text: str, where: str) -> dict[str, Any]:
    """The mapping in a YAML document; ``where`` it is from is told to people.

    Raises:
        Misuse: not YAML, or no mapping.

    """
    try:
        document = yaml.safe_load(text)
    except _NO_YAML as error:
        raise Misuse(f"{where}: {error}") from error
    if not isinstance(document, dict):
        raise Misuse(f"{where}: expected sections such as 'agent:' at the top")
    return document


def decode(content: bytes, where: str) -> dict[str, Any]:
    """As ``parse``, of a file's bytes.

    Raises:
        Misuse: as ``parse``, or longer than a configuration may be, or no text.

    """
    if len(content) > FILE_BYTES_MAX:
        raise Misuse("too long", bytes_max=FILE_BYTES_MAX)
    try:
        return parse(content.decode(), where)
    except UnicodeDecodeError as error:
        raise Misuse("no text in UTF-8") from error


def _override(values: dict[str, Any], path: list[str], text: str) -> None:
    *parents, last = path
    for name in parents:
        child = values.get(name)
        values[name] = dict(child) if isinstance(child, Mapping) else {}
        values = values[name]
    try:
        values[last] = yaml.safe_load(text)
    except _NO_YAML:
        values[last] = text


def _build(shape: type[T], where: str, values: Any, errors: list[str]) -> T | None:
    if not isinstance(values, Mapping):
        errors.append(f"{where}: must be a mapping of settings")
        return None
    assert is_dataclass(shape)
    hints, known = get_type_hints(shape), {field.name: field for field in fields(shape)}
    before = len(errors)
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            errors.append(f"{where}.{name}: unknown setting{hint}")
    arguments: dict[str, Any] = {}
    for name, field in known.items():
        if name in values:
            arguments[name] = _value(hints[name], f"{where}.{name}", values[name], errors)
        elif field.default is MISSING and field.default_factory is MISSING:
            errors.append(f"{where}.{name}: required")
    if len(errors) > before:
        return None
    try:
        return shape(**arguments)
    except Fault as error:
        details = ", ".join(f"{key}={value}" for key, value in error.details.items())
        errors.append(f"{where}: {error} ({details})" if details else f"{where}: {error}")
        return None


def _value(hint: Any, where: str, value: Any, errors: list[str]) -> Any:
    if isinstance(hint, UnionType) and value is not None:
        # "None, or one of ours": the only union of objects that configuration has.
        (hint,) = (one for one in get_args(hint) if one is not NoneType)
    if is_dataclass(hint) and isinstance(hint, type):
        return _build(hint, where, value, errors)
    (inner,) = get_args(hint) if get_origin(hint) is list else (None,)
    if is_dataclass(inner) and isinstance(inner, type) and isinstance(value, list):
        return [_build(inner, f"{where}[{at}]", one, errors) for at, one in enumerate(value)]
    try:
        return msgspec.convert(value, hint, strict=True)
    except msgspec.ValidationError as error:
        errors.append(f"{where}: {error}")
        return None
