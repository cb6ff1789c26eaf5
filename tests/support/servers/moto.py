"""S3 by moto, which knows conditional puts, and lets everybody in."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from support.servers.programs import Bucket, from_environment, new_name, shared

SECRETS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "moto-secret"}


def _command(port: int, _: Path) -> tuple[str | Path, ...]:
    return (from_environment("moto_server"), "-H", "127.0.0.1", "-p", str(port))


def _tls_command(port: int, folder: Path) -> tuple[str | Path, ...]:
    _make_certificate(folder)
    return (*_command(port, folder), "-s", "-c", folder / "one.pem", "-k", folder / "one.key")


def _make_certificate(folder: Path) -> None:
    """``one.pem`` with ``one.key``, and ``ca.pem``, the authority that signed it."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    for words in (
        ("req", "-x509", *key, "-days", "2", "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.pem"),
        ("req", *key, "-subj", "/CN=one", "-keyout", "one.key", "-out", "one.csr"),
        ("x509", "-req", "-in", "one.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
         "-days", "2", "-extfile", "names", "-out", "one.pem"),
    ):  # fmt: skip
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


@asynccontextmanager
async def moto(*, tls: bool = False) -> AsyncIterator[Bucket]:
    """A bucket; with ``tls`` behind a certificate of a private authority."""
    server = await (shared("moto-tls", _tls_command) if tls else shared("moto", _command))
    endpoint = server.url.replace("http:", "https:") if tls else server.url
    name = new_name()
    async with (
        aiohttp.ClientSession() as session,
        session.put(f"{endpoint}/{name}", ssl=False) as answer,
    ):
        assert answer.status == 200, await answer.text()
    options = {"endpoint": endpoint, "region": "us-east-1"}
    if tls:
        options["ca_file"] = str(server.folder / "ca.pem")
    yield Bucket("s3", name, options, SECRETS, server.folder)
