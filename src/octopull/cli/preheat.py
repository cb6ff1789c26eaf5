"""``octopull preheat``: chosen agents fetch an image before anybody asks for it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from octopull.cli import ready_file
from octopull.cli.calling import calling
from octopull.cli.preheat_progress import showing
from octopull.cli.quantities import Duration
from octopull.clients.preheats import PreheatClient
from octopull.clients.registry import ACCEPT
from octopull.http.client import Http
from octopull.kernel import names
from octopull.kernel.digest import Digest
from octopull.kernel.errors import Misuse, NotFound, Unavailable
from octopull.oci.manifests import MANIFEST_BYTES_MAX
from octopull.oci.upstreams import DOCKER_HUB, canonical
from octopull.placement import labels as label
from octopull.placement.heartbeats import Preheat, Standing, check_platform

LOOK_S = 1.0
PUT_S = 5.0
"""A tracker that was started anew has forgotten, so it is told again this often."""

EPILOG = """\b
Examples:
  octopull preheat web:v2                              every agent of 'octopull up'
  octopull preheat web:v2 --agents rack=7,pool=gpu     those with both labels
  octopull preheat web:v2 --agents rack=7 --agents rack=8
                                                       those with either
  octopull preheat web:v2 --platform linux/arm64 --timeout 10m
  octopull preheat web:v2 --no-wait                    order it, and go on
  octopull preheat web:v2 --cancel                     take that back
  octopull preheat --blob sha256:... --namespace models
"""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a cluster's trackers and one of its proxies are, as ``host:port``."""

    trackers: list[str]
    proxy: str


class Labels(click.ParamType[dict[str, str]]):
    """A selector of agents: ``rack=7,pool=gpu``."""

    name = "name=value,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, str]:
        """Parse, and refuse what can be nobody's labels."""
        try:
            return value if isinstance(value, dict) else label.parse(str(value))
        except Misuse as fault:
            self.fail(str(fault), param, ctx)


@click.command(epilog=EPILOG)
@click.argument("image", required=False)
@click.option("--agents", "agents", multiple=True, type=Labels(),
              help="Only agents with all these labels; several times: with all of any.")  # fmt: skip
@click.option("--platform", "platforms", multiple=True,
              help="Of a multi-platform image, only this one, such as linux/amd64; several times.")  # fmt: skip
@click.option("--tracker", "trackers", multiple=True, default=["127.0.0.1:5020"],
              show_default=True, help="host:port; name all of them.")  # fmt: skip
@click.option("--proxy", default="127.0.0.1:5000", show_default=True,
              help="host:port; asked what the tag stands for.")  # fmt: skip
@click.option("--cluster", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A file written by 'up --ready-file'; says where everything is.")  # fmt: skip
@click.option("--blob", help="A lone blob's digest, instead of an image.")
@click.option("--namespace", default="", help="The blob's namespace.")
@click.option("--wait/--no-wait", default=True, show_default=True,
              help="Until all chosen agents have it.")  # fmt: skip
@click.option("--timeout", "timeout_s", type=Duration(), default="1h", show_default=True,
              help="How long to wait.")  # fmt: skip
@click.option("--cancel", is_flag=True, help="Take the same order back.")
def preheat(
    image: str | None, agents: tuple[dict[str, str], ...], platforms: tuple[str, ...],
    trackers: tuple[str, ...], proxy: str, cluster: Path | None, blob: str | None,
    namespace: str, wait: bool, timeout_s: float, cancel: bool,  # noqa: FBT001 - flags of the command line
) -> None:  # fmt: skip
    """Have agents fetch IMAGE (repository:tag, or repository@digest) into their caches.

    Exits with 0 when all chosen agents have it, with 1 if one failed or the time ran out. Ctrl-C ends
    the waiting, not the order; --cancel, with the same options, does.
    """
    if (image is None) == (blob is None) or bool(blob) != bool(namespace):
        raise click.UsageError("name an IMAGE, or --blob and its --namespace")
    places = Places(list(trackers), proxy) if cluster is None else _places(cluster)
    chosen = [check_platform(one) for one in platforms], list(agents)

    async def work(http: Http) -> bool:
        ordered = await _order(http, places.proxy, image, blob, namespace, *chosen)
        client = PreheatClient(http, places.trackers)
        if cancel:
            await client.cancel(ordered.id)
            click.echo("cancelled; what agents have of it stays in their caches")
            return True
        begun = await client.begin(ordered)
        click.echo(f"preheat {begun.id} of {begun.namespace}@{begun.digest}")
        return not wait or await _wait(client, begun, timeout_s)

    try:
        done = asyncio.run(_with_http(work))
    except (KeyboardInterrupt, asyncio.CancelledError):
        click.echo("stopped waiting; the order goes on (--cancel takes it back)", err=True)
        raise SystemExit(130) from None
    if not done:
        raise SystemExit(1)


async def _with_http(work: Callable[[Http], Awaitable[bool]]) -> bool:
    async with calling() as http:
        return await work(http)


def _places(cluster: Path) -> Places:
    return ready_file.read(
        cluster, lambda found: Places([str(found["tracker"])], str(found["proxy"]))
    )


async def _order(
    http: Http, proxy: str, image: str | None, blob: str | None, namespace: str,
    platforms: list[str], agents: list[dict[str, str]],
) -> Preheat:  # fmt: skip
    if image is None:
        digest = str(Digest.parse(blob or ""))
        return Preheat(namespace=namespace, digest=digest, blob=True, agents=agents)
    repository, at, reference = image.rpartition("@")
    if not at:
        repository, colon, reference = image.rpartition(":")
        if not colon:
            raise Misuse("expected repository:tag or repository@digest", image=image[:80])
    # As the agents' names are: docker.io/nginx is docker.io/library/nginx.
    repository = canonical(names.repository(repository), None, {DOCKER_HUB})
    # The proxy knows tags of upstreams, too; and refuses what nobody has.
    reply = await http.call(
        "GET", f"http://{proxy}/v2/{repository}/manifests/{names.reference(reference)}",
        headers={"Accept": ACCEPT}, bytes_max=MANIFEST_BYTES_MAX, timeout_s=60,
    )  # fmt: skip
    digest = str(Digest.parse(reply.headers.get("Docker-Content-Digest", "")))
    return Preheat(namespace=repository, digest=digest, platforms=platforms, agents=agents)


async def _wait(client: PreheatClient, preheat: Preheat, timeout_s: float) -> bool:
    """Whether all chosen agents have it; says so."""
    until = time.monotonic() + timeout_s
    put_at = time.monotonic() + PUT_S
    last: Standing | None = None
    with showing() as shown:
        while time.monotonic() < until:
            await asyncio.sleep(LOOK_S)
            try:
                if time.monotonic() >= put_at:
                    put_at = time.monotonic() + PUT_S
                    await client.put(preheat)
                last = await client.standing(preheat.id)
            except (NotFound, Unavailable) as fault:
                shown.trouble(fault)
                continue
            shown.standing(last)
            if last.cancelled or last.run != preheat.run:
                break
            if last.settled and last.done + last.failed >= last.agents:
                break
    return _verdict(last, preheat)


def _verdict(last: Standing | None, preheat: Preheat) -> bool:
    told = "no tracker told how it went" if last is None else _shortfall(last, preheat)
    for failure in last.failures if last is not None else []:
        click.echo(f"agent {failure.agent[:8]}: {failure.reason}", err=True)
    if told:
        raise Unavailable(told)
    assert last is not None
    click.echo(f"{last.done} of {last.agents} agents have it")
    return True


def _shortfall(last: Standing, preheat: Preheat) -> str:
    """What keeps it from being done; empty if nothing."""
    if last.cancelled:
        return "it was cancelled"
    if last.run != preheat.run:
        return "the same was ordered anew, by somebody else"
    if last.failed:
        return f"{last.failed} of {last.agents} agents failed"
    if not last.settled or last.done < last.agents:
        return f"time ran out: {last.done} of {last.agents} agents have it; the others go on"
    return "" if last.agents else "no agent has these labels"
