"""The demo: one image pushed by a stock client, pulled on three agents at once by others.

Builds an image of real files of this machine, starts a cluster, pushes, pulls, compares
every file, and shows which agent got how many bytes from whom.
"""

import json
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from oci_image import Image, Layer, build
from registry_clients import CLIENTS, RegistryClient, contents, lacking, run, unpack

OCTOPULL = Path(sys.executable).with_name("octopull")
NAME, TAG = "demo/image", "v1"
LARGE_BYTES = 300_000_000
console = Console(highlight=False)


class Octopull:
    """octopull's own push and pull, where no stock client is."""

    name = "octopull"

    def __init__(self, sandbox: Path) -> None:
        self._sandbox = sandbox

    def start(self) -> None:
        pass

    def push(self, layout: Path, tag: str, target: str) -> None:
        del tag  # The layout holds one image.
        address, _, name = target.partition("/")
        run(OCTOPULL, "push", layout, name, "--to", f"http://{address}")

    def pull(self, registry: str, name: str, folder: Path) -> None:
        copy = self._sandbox / f"pulled-{folder.name}"
        run(OCTOPULL, "pull", name, copy, "--from", f"http://{registry}")
        unpack(copy, folder)

    def stop(self) -> None:
        pass


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="octopull-demo-") as folder:
        return Demo(Path(folder)).run()


class Demo:
    """One run of the demo in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cluster: dict[str, Any] = {}

    def run(self) -> int:
        image = self._image()
        server = self._up()
        clients: list[RegistryClient] = []
        try:
            clients = self._clients()
            self._push(image, clients[0])
            same = self._pull_everywhere(image, clients)
            shared = self._show_traffic()
        finally:
            for client in clients:
                client.stop()
            server.send_signal(signal.SIGINT)
            server.wait(30)
        if same and shared:
            console.print("\n[bold green]Every file matched, and agents served each other.[/]")
        return 0 if same and shared else 1

    def _image(self) -> Image:
        console.print("Building an image of real files of this machine ...")
        began = time.monotonic()
        layers = [
            Layer(Path(sysconfig.get_paths()["stdlib"]), "python", True, 60_000_000),
            Layer(Path("/usr/share/doc"), "doc", True, 30_000_000),
            Layer(Path("/usr"), "usr", False, LARGE_BYTES),
        ]
        image = build(self._folder / "image", TAG, layers)
        console.print(f"  {image.layer_bytes / 2**20:.0f} MiB in {len(layers)} layers, "
                      f"{time.monotonic() - began:.1f} s")  # fmt: skip
        return image

    def _up(self) -> "subprocess.Popen[bytes]":
        ready = self._folder / "ready.json"
        server = subprocess.Popen(
            [OCTOPULL, "up", "--agents", "3", "--port-base", "0", "--data", self._folder / "data",
             "--ready-file", ready], stdout=subprocess.DEVNULL,
        )  # fmt: skip
        while not ready.exists():
            if server.poll() is not None:
                raise SystemExit("the cluster did not start")
            time.sleep(0.05)
        self._cluster = json.loads(ready.read_text())
        console.print(f"A cluster is up: proxy {self._cluster['proxy']}, one origin, three agents")
        return server

    def _clients(self) -> list[RegistryClient]:
        usable: list[RegistryClient] = []
        for kind in CLIENTS:
            missing = lacking(kind)
            if missing:
                console.print(f"  without {kind.name}: needs {', '.join(missing)}")
                continue
            client: RegistryClient = kind(self._folder / kind.name)
            try:
                client.start()
            except Exception as failure:  # noqa: BLE001 - one client less; the demo goes on and says so
                console.print(f"  without {kind.name}: {failure}")
                continue
            usable.append(client)
        if not usable:
            console.print("No stock client is here: using octopull's own push and pull.")
            usable.append(Octopull(self._folder / "octopull"))
        return usable

    def _push(self, image: Image, client: RegistryClient) -> None:
        began = time.monotonic()
        client.push(image.folder, TAG, f"{self._cluster['proxy']}/{NAME}:{TAG}")
        console.print(f"Pushed by {client.name} in {time.monotonic() - began:.1f} s")

    def _pull_everywhere(self, image: Image, clients: list[RegistryClient]) -> bool:
        unpack(image.folder, self._folder / "expected")
        expected = contents(self._folder / "expected")
        # The pusher comes last: as many different clients as there are agents pull.
        pullers = (clients[1:] + clients[:1]) * 3
        agents = self._cluster["agents"]
        names = [puller.name for puller in pullers[: len(agents)]]
        console.print(f"Pulling on {len(agents)} agents at once, by {', '.join(names)} ...")

        def pull(number: int) -> bool:
            puller, agent = pullers[number], agents[number]["http"]
            target = self._folder / f"out-{number}"
            began = time.monotonic()
            puller.pull(agent, f"{NAME}:{TAG}", target)
            took_s = time.monotonic() - began
            same = contents(target) == expected
            verdict = f"{len(expected)} files the same" if same else "[red]FILES DIFFER[/]"
            console.print(f"  agent {number + 1} by {puller.name}: {took_s:.1f} s, {verdict}")
            shutil.rmtree(target)
            return same

        with ThreadPoolExecutor(len(agents)) as threads:
            return all(list(threads.map(pull, range(len(agents)))))

    def _show_traffic(self) -> bool:
        statuses = [self._status(agent["http"]) for agent in self._cluster["agents"]]
        names = {status["peer_id"]: f"agent {n}" for n, status in enumerate(statuses, 1)}
        table = Table(
            "", "from the origin", *(f"from agent {n}" for n in range(1, 4)), "share of peers"
        )
        between = 0
        for number, status in enumerate(statuses, 1):
            got = {"origin": 0, **dict.fromkeys(names.values(), 0)}
            for row in status["received"]:
                who = "origin" if row["kind"] == "origin" else names.get(row["peer_id"], "origin")
                got[who] += row["bytes"]
            peers = sum(got.values()) - got["origin"]
            between += peers
            share = peers / max(sum(got.values()), 1)
            cells = [f"{got[who] / 2**20:.1f} MiB" for who in ("origin", *names.values())]
            table.add_row(f"agent {number}", *cells, f"{share:.0%}")
        console.print("\nWho got how many bytes from whom:")
        console.print(table)
        return between > 0

    @staticmethod
    def _status(address: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://{address}/status", timeout=10) as answer:
            status: dict[str, Any] = json.load(answer)
        return status


if __name__ == "__main__":
    sys.exit(main())
