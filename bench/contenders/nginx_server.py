"""One nginx that all hosts pull from: what a registry without a swarm comes to."""

import time

from harness import rivals
from harness.clients import pull_all
from harness.processes import cpu_s
from harness.swarming import SETTLE_S, Ground, Pulled


def pull(ground: Ground) -> Pulled:
    """nginx on the first host, the blob a file; the others GET it at once."""
    server, scenario = ground.lab.hosts[0], ground.scenario
    files = ground.folder / "nginx" / "files"
    files.mkdir(parents=True)
    (files / "blob").hardlink_to(ground.blob)
    with server.inside(), rivals.nginx(ground.folder / "nginx", server.address) as nginx:
        host, _, port = nginx.url.removeprefix("http://").partition(":")
        address = host, int(port)
        ground.cap()
        time.sleep(SETTLE_S)
        before_s = cpu_s([nginx.pid])
        seconds = pull_all(ground.pullers, lambda _: address, "/blob", ground.digest,
                           scenario.size, scenario.deadline_s)  # fmt: skip
        used_s = cpu_s([nginx.pid]) - before_s
    return Pulled(seconds, used_s, scenario.hosts * scenario.size)
