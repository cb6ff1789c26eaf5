"""Certificates for tests, made by openssl, and a proxy that asks its clients for theirs."""

import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from octopull.cli.cluster import Ports, running
from octopull.config.access import AccessSettings, TokenServiceSettings
from octopull.config.services import Listen, ProxyConfig
from octopull.config.tls import Clients, Tls
from octopull.security import issuing
from octopull.services.proxy.app import run
from support import access
from support.registry import digest_of
from support.services import started

RULES = [{"who": ["certificate:*.example"], "repositories": ["team/**"], "actions": ["push"]},
         {"who": ["user:alice"], "repositories": ["team/**"], "actions": ["pull"]}]  # fmt: skip


def certificate(folder: Path, name: str) -> tuple[str, str]:
    """The files of a certificate, which is its own authority, and its key."""
    made, key = folder / f"{name}.pem", folder / f"{name}.key"
    names = f"DNS:{name}.example,DNS:localhost,IP:127.0.0.1,URI:test://{name}"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", f"/O=test/CN={name}", "-addext",
         f"subjectAltName={names}", "-keyout", key, "-out", made],
        check=True, capture_output=True,
    )  # fmt: skip
    return str(made), str(key)


@asynccontextmanager
async def asking_for_certificates(folder: Path, *, tokens: bool = False) -> AsyncIterator[str]:
    """One that asks clients for certificates of ``known``; its URL."""
    files = access.files(folder / "access")
    access.write_rules(folder / "access" / "policy.yaml", RULES)
    server, key = certificate(folder, "server")
    authority, _ = certificate(folder, "known")
    tls = Tls(certificate=server, key=key, authority=authority, clients=Clients.ASKED)
    issuing.made(folder / "token.key")
    service = TokenServiceSettings(key=str(folder / "token.key")) if tokens else None
    async with running(folder / "data", 0, Ports(0, "127.0.0.1")) as cluster:
        config = ProxyConfig(
            origins=[cluster.origin.address], tag_indexes=[cluster.tag_index.address], replicas=1,
            listen=Listen(tls=tls), access=AccessSettings(**files, token_service=service),
        )  # fmt: skip
        async with started(run, config) as one:
            yield one.url


def showing(folder: Path, name: str = "") -> aiohttp.ClientSession:
    """One that shows the certificate ``name``, if it is given."""
    trust = ssl.create_default_context(cafile=str(folder / "server.pem"))
    if name:
        trust.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust))


def upload_of(url: str, blob: bytes) -> str:
    """Where ``blob`` is pushed in one request."""
    return f"{url}/v2/team/app/blobs/uploads/?digest={digest_of(blob)}"
