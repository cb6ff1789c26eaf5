"""What an agent says of itself, and how some agents are chosen by it: ``rack=7,pool=gpu``."""

import re
from collections.abc import Mapping, Sequence

from octopull.kernel.errors import Misuse

LABELS_MAX = 32
SELECTORS_MAX = 64
ZONE = "zone"
"""The label that an agent has from its zone."""

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}", re.ASCII)
_VALUE = re.compile(r"[\x21-\x2b\x2d-\x3c\x3e-\x7e]{1,64}", re.ASCII)
"""Printable, without the comma and the equals sign of the text form."""


def check(labels: Mapping[str, str]) -> None:
    """Raise Misuse unless ``labels`` are few and short, in characters that need no quotes."""
    if len(labels) > LABELS_MAX:
        raise Misuse("too many labels", most=LABELS_MAX)
    for name, value in labels.items():
        if _WORD.fullmatch(name) is None:
            raise Misuse("a label's name has up to 63 letters, digits and ._/-", name=name[:80])
        if _VALUE.fullmatch(value) is None:
            raise Misuse("a label's value has up to 64 printable characters, no comma or equals "
                         "sign", name=name, value=value[:80])  # fmt: skip


def check_selectors(selectors: Sequence[Mapping[str, str]]) -> None:
    """Raise Misuse unless each of ``selectors`` is made of usable labels, and they are few."""
    if len(selectors) > SELECTORS_MAX:
        raise Misuse("too many selectors", most=SELECTORS_MAX)
    for one in selectors:
        if not one:
            raise Misuse("a selector names at least one label")
        check(one)


def parse(text: str) -> dict[str, str]:
    """Read ``name=value,name=value``.

    Raises:
        Misuse: anything else, or a name given twice.

    """
    labels: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals:
            raise Misuse("expected name=value,name=value", given=text[:80])
        if name in labels:
            raise Misuse("a label is given twice", name=name[:80])
        labels[name] = value
    check(labels)
    return labels


def chosen(selectors: Sequence[Mapping[str, str]], labels: Mapping[str, str]) -> bool:
    """Whether ``labels`` have all that some selector asks for; without selectors all do."""
    return not selectors or any(one.items() <= labels.items() for one in selectors)
