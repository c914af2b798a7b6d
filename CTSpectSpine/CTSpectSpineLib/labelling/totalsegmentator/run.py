"""Runs TotalSegmentator; a program of its own for the Python that has it.

``python run.py REQUEST``: the request is a JSON file with the arguments of
TotalSegmentator's Python function. This process and all that it starts end when standard input
is closed, which happens when whoever started it has gone. Nothing is fetched and nothing is sent.
"""

import json
import os
import signal
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any


def end_with_caller() -> None:
    """End this process group as soon as nobody holds the other end of standard input.

    Read without Python's own stream, whose lock would stop the forked workers.
    """
    while os.read(0, 1):
        pass
    if os.name != "nt":
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def stay_offline(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook that lets no connection leave this computer."""
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None
    else:
        return
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if name not in (None, "", "localhost", "::1") and not str(name).startswith("127."):
        raise PermissionError(f"TotalSegmentator may not connect to {name}")


def main(path: str) -> None:
    """Run what a request asks for."""
    sys.addaudithook(stay_offline)
    threading.Thread(target=end_with_caller, daemon=True).start()
    # Python looks first in the folder of this program, whose files are not meant for it.
    sys.path[:] = [p for p in sys.path if Path(p).resolve() != Path(__file__).resolve().parent]
    api = import_module("totalsegmentator.python_api")
    # It looks for the weights of every part of a task, also of parts that are not asked for, and
    # fetches what is missing; whoever wrote the request has checked that the needed ones are there.
    api.download_pretrained_weights = lambda task_id: None  # type: ignore[attr-defined]
    api.totalsegmentator(**json.loads(Path(path).read_text(encoding="utf-8")))


if __name__ == "__main__":
    main(sys.argv[1])
