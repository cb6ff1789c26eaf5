"""One libtorrent peer in a process of its own, which talks with its parent in lines of JSON.

It is told all in one line; says "ready"; starts at the moment it was told; says when it has the
whole blob; and when its input ends, how much it sent. With ``make BLOB TORRENT``, it writes the
torrent that peers are told of instead.
"""

import json
import sys
import time
from pathlib import Path

import libtorrent as lt

PORT = 6881
PIECE_BYTES = 1 << 20
SETTINGS = {
    "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
    "enable_outgoing_utp": False, "enable_incoming_utp": False,
    # Nothing but the links holds it back, and nobody waits for a second try.
    "unchoke_slots_limit": -1, "connection_speed": 200, "min_reconnect_time": 1,
    "max_out_request_queue": 1500, "mixed_mode_algorithm": 0, "rate_limit_ip_overhead": False,
    "alert_mask": int(lt.alert.category_t.status_notification),
}  # fmt: skip


def make_torrent(blob: Path, torrent: Path) -> None:
    """Write the torrent of ``blob``, whose peers save it under its own name."""
    maker = lt.create_torrent(lt.list_files(str(blob)), PIECE_BYTES)
    lt.set_piece_hashes(maker, str(blob.parent))
    torrent.write_bytes(lt.bencode(maker.generate()))


def take_part() -> None:
    """Take part in one torrent: ``address``, ``others``, ``torrent``, ``folder``, ``seed``."""
    told = json.loads(sys.stdin.readline())
    session = lt.session({**SETTINGS, "listen_interfaces": f"{told['address']}:{PORT}"})
    params = lt.load_torrent_file(told["torrent"])
    params.save_path = told["folder"]
    flags = lt.torrent_flags
    params.flags = flags.seed_mode if told["seed"] else flags.update_subscribe
    _say({"ready": 1})
    started = float(sys.stdin.readline())
    time.sleep(max(0, started - time.monotonic()))
    handle = session.add_torrent(params)
    for other in told["others"]:
        handle.connect_peer((other, PORT))
    if not told["seed"]:
        _await_whole(session)
        _say({"seconds": time.monotonic() - started})
    sys.stdin.read()
    _say({"sent_bytes": handle.status().total_payload_upload})


def _await_whole(session: lt.session) -> None:
    """Until every piece is here and proven; the parent ends us if that never comes."""
    while True:
        session.wait_for_alert(60_000)
        if any(isinstance(alert, lt.torrent_finished_alert) for alert in session.pop_alerts()):
            return


def _say(document: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1:2] == ["make"]:
        make_torrent(*map(Path, sys.argv[2:]))
    else:
        take_part()
