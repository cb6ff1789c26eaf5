"""Without the extra ``access`` all works but what needs it, and that says so."""

import subprocess
import sys

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
