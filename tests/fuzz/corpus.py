"""What fuzzing found to lead into a parser: a file per target, a line of base64 for each input."""

import base64
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).with_name("corpus")
INPUTS_MAX = 40
INPUT_BYTES_MAX = 600
"""The shortest are kept, so that people can read a diff."""


def path(target: str) -> Path:
    """Where the inputs of a target are."""
    return FOLDER / f"{target.replace(' ', '-').replace(chr(39), '')}.txt"


def load(target: str) -> list[bytes]:
    """Its inputs; none if it is new."""
    file = path(target)
    return [base64.b64decode(line) for line in file.read_text().split()] if file.exists() else []


def keep(target: str, inputs: Iterable[bytes]) -> None:
    """Let these be its inputs."""
    short = sorted(
        {one for one in inputs if len(one) <= INPUT_BYTES_MAX}, key=lambda b: (len(b), b)
    )
    FOLDER.mkdir(exist_ok=True)
    lines = [base64.b64encode(one).decode() for one in short[:INPUTS_MAX] if one]
    path(target).write_text("".join(f"{line}\n" for line in lines))
