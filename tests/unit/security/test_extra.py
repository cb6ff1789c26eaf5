"""Without the extras ``access`` and ``certs`` all works but what needs them, and that says so."""

import subprocess
import sys
from pathlib import Path

from octopull.security.roles import Role
from support.authorities import new

SEALS = """
import sys
sys.modules["cryptography"] = None
import octopull.services.agent.app, octopull.services.tracker.app, octopull.services.origin.app
from octopull.config.tls import ClusterTls, Seals
from octopull.kernel.errors import Misuse
from octopull.security import mutual
from octopull.security.roles import Role
authority, certificate, key = sys.argv[2:]
role = Role(sys.argv[1])
for one in Seals:
    files = ClusterTls(authority=authority, certificate=certificate, key=key, seals=one)
    try:
        mutual.load(files, role)
        print("loaded")
    except Misuse as fault:
        print(fault)
"""
PROGRAM = """
import sys
for name in ("argon2", "bcrypt", "cryptography", "jwt"):
    sys.modules[name] = None
import octopull.cli.policy, octopull.services.agent.app, octopull.services.proxy.app
from octopull.config.access import AccessSettings, TokenServiceSettings
from octopull.kernel.errors import Misuse
from octopull.registry.access.access import check_installed
from octopull.security.passwords import Passwords
check_installed(AccessSettings(policy="p", tokens="t"))
service = TokenServiceSettings(key="key")
for need in (
    lambda: check_installed(AccessSettings(policy="p", token_service=service)),
    lambda: Passwords(dict),
):
    try:
        need()
    except Misuse as fault:
        print(fault)
"""


def test_what_needs_the_extra_says_so_and_nothing_else_does() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "tokens need the extra 'access' of octopull",
        "passwords need the extra 'access' of octopull",
    ]


def test_seals_need_the_extra_and_without_it_they_can_be_ignored(tmp_path: Path) -> None:
    ours = new(tmp_path / "ours")

    def said(role: Role) -> list[str]:
        files = ours.files(role)
        words = [sys.executable, "-c", SEALS, role, files.authority, files.certificate, files.key]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    refused, loaded = said(Role.AGENT)
    assert "pip install 'octopull[certs]' (or say tls.seals: ignored)" in refused
    assert loaded == "loaded"
    assert said(Role.PROXY) == ["loaded", "loaded"]
