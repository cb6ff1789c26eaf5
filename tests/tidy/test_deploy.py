"""The units that systemd is given: it understands them, and they let services do little."""

import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "octopull@.service"
EXPOSURE_MAX = 15
"""Of 100, as systemd weighs what a service may do."""

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """That of an agent, whose command exists here."""
    text = UNIT.read_text()
    assert "/opt/octopull/bin/octopull " in text
    path = tmp_path / "octopull@agent.service"
    path.write_text(text.replace("/opt/octopull/bin/octopull ", "/bin/true "))
    return path


def analyzed(*words: str | Path) -> str:
    done = subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


def test_systemd_understands_every_line_of_the_unit(unit: Path) -> None:
    assert "octopull" not in analyzed("verify", "--man=no", unit)


def test_services_may_do_little(unit: Path) -> None:
    analyzed("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", "--no-pager", unit)
