"""Certificates that vouch for themselves, for servers on this machine."""

import subprocess
from pathlib import Path

from octopull.config.tls import Tls


def certificate(folder: Path, name: str = "one") -> Tls:
    """A new one and its key, as files in ``folder``."""
    made, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", made],
        check=True, capture_output=True,
    )  # fmt: skip
    return Tls(certificate=str(made), key=str(key))
