"""Typed values to plain JSON and back, led by annotations; nothing but the annotated is made.

None, bool, str, float           themselves
int                              itself; from 2**53 on as hexadecimal text
bytes                            hexadecimal text
Enum                             its name
tuple, frozenset                 an array
dataclass                        {"its name": {"field": ...}}
"""

from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from octopull.kernel.errors import Misuse

EXACT_MAX = (1 << 53) - 1
"""Readers of JSON may take numbers for doubles; sets of pieces have thousands of bits."""


def plain(value: object) -> Any:
    """``value`` as JSON can say it.

    Raises:
        Misuse: it is of a kind that the table above lacks.

    """
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, int) and abs(value) > EXACT_MAX:
        return hex(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | frozenset):
        return [plain(one) for one in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {
            type(value).__name__: {f.name: plain(getattr(value, f.name)) for f in fields(value)}
        }
    raise Misuse("no plain form is known", kind=type(value).__name__)


def typed(hint: Any, value: Any) -> Any:
    """What ``plain`` turned into ``value``, which was annotated ``hint``.

    Raises:
        Misuse: ``value`` is nothing that ``hint`` allows, or a field lies out of bounds.

    """
    try:
        return _typed(hint, value)
    except (TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
        raise Misuse(f"not what was written: {error!r}") from error


def _typed(hint: Any, value: Any) -> Any:
    origin = get_origin(hint)
    if origin in {Union, UnionType}:
        hint = _member(get_args(hint), value)
        origin = get_origin(hint)
    if origin is tuple:
        return tuple(_parts(get_args(hint), value))
    if origin is frozenset:
        return frozenset(_typed(get_args(hint)[0], one) for one in value)
    if is_dataclass(hint):
        assert isinstance(hint, type)
        hints, given = _hints(hint), value[hint.__name__]
        return hint(**{name: _typed(hints[name], one) for name, one in given.items()})
    if issubclass(hint, Enum):
        return hint[value]
    if issubclass(hint, bytes):
        return bytes.fromhex(value)
    if hint is int and isinstance(value, str):
        return int(value, 16)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise TypeError(hint.__name__, type(value).__name__)
    return value


def _parts(hints: tuple[Any, ...], values: Any) -> list[Any]:
    if len(hints) == 2 and hints[1] is Ellipsis:
        return [_typed(hints[0], one) for one in values]
    return [_typed(hint, one) for hint, one in zip(hints, values, strict=True)]


def _member(hints: tuple[Any, ...], value: Any) -> Any:
    """Which of a union's ``hints`` is meant: None, a dataclass by name, or the only other one."""
    if value is None and NoneType in hints:
        return NoneType
    if isinstance(value, dict):
        (name,) = value
        # Hints are classes, which have a name; the checker thinks of instances, too.
        (hint,) = (one for one in hints if is_dataclass(one) and one.__name__ == name)  # type: ignore[union-attr]
        return hint
    (other,) = (hint for hint in hints if hint is not NoneType and not is_dataclass(hint))
    return other


@cache
def _hints(shape: type) -> dict[str, Any]:
    return get_type_hints(shape)
