"""Fuzzes one target in this process, by the code that its inputs reach: ``fuzzer.py TARGET ...``.

The words behind the target are libFuzzer's.
"""

import sys
import tempfile
from pathlib import Path

import atheris

READ_BY_SERVERS = [
    "http",
    "oci",
    "kernel",
    "registry",
    "security",
    "services.proxy",
    "services.agent",
]
"""What has to do with requests: the rest of a cluster would be led astray by its own clocks."""

ours = ["octopull"]
if sys.argv[1].startswith("requests"):
    ours = [f"octopull.{name}" for name in READ_BY_SERVERS]
with atheris.instrument_imports(include=[*ours, "yaml", "tomllib"]):
    from fuzz.servers import SERVERS, Servers
    from fuzz.targets import TARGETS

if __name__ == "__main__":
    program, name, *words = sys.argv
    if name in SERVERS:
        # The process ends in the fuzzer, and whoever started it removes the folder for temporary files.
        servers = Servers(Path(tempfile.mkdtemp()))
        servers.__enter__()
        atheris.Setup([program, *words], SERVERS[name].told_to(servers))
    else:
        atheris.Setup([program, *words], TARGETS[name].try_out)
    atheris.Fuzz()
