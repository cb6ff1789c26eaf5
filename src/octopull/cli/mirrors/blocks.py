"""Our part of a text file whose comments begin with ``#``: whole lines between two marks.

Taking a block out again gives the text there was before it, byte for byte. The one case in
which lines do not suffice is a text without an end of line: a block behind it has none either,
and the one between them is the block's.
"""

import re

from octopull.kernel.errors import Misuse

_BY = "octopull agent install-mirror"
_MARK = re.compile(rf"^# (begin|end) (\S+): {_BY}\r?(?:\n|\Z)", re.MULTILINE | re.ASCII)


def spans(text: str) -> dict[str, tuple[int, int]]:
    """From where to where each block goes, by name, in order.

    Raises:
        Misuse: a mark without its other half, or a name twice.

    """
    found: dict[str, tuple[int, int]] = {}
    marks = list(_MARK.finditer(text))
    for begin, end in zip(marks[::2], marks[1::2], strict=False):
        start = begin.start()
        if start and not end[0].endswith("\n"):
            start -= 1
        found[begin[2]] = start, end.end()
    said = [pair for name in found for pair in (("begin", name), ("end", name))]
    if said != [(mark[1], mark[2]) for mark in marks]:
        raise Misuse(f"the lines '# begin ...: {_BY}' and '# end ...' do not pair up")
    return found


def insert(text: str, at: int, name: str, body: str) -> str:
    """``text`` with a block at ``at``, the beginning of a line or the end of the text.

    ``body`` is whole lines.
    """
    block = f"# begin {name}: {_BY}\n{body}# end {name}: {_BY}\n"
    if text[:at] and not text[:at].endswith("\n"):
        block = f"\n{block[:-1]}"
    return text[:at] + block + text[at:]


def remove(text: str, name: str) -> str:
    """``text`` without the block ``name``, if it has one.

    Raises:
        Misuse: as ``spans``.

    """
    start, end = spans(text).get(name, (0, 0))
    return text[:start] + text[end:]
