"""What the process of the host connects to, always, and what it opens and changes, between one prompt and another."""

from __future__ import annotations

import ipaddress
import os
import sys
from typing import Any

from comfy_api.latest import io

from .probe import FreshProbe

FOLLOWING = ("open", "os.listdir", "os.scandir", "os.truncate")  # a link to what it leads to
TOUCHING = (*FOLLOWING, "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink")

connected: set[str] = set()  # to what is not this computer
watched: list[set[tuple[str, str]]] = []  # the set that is being filled, if any


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        host = str(arguments[1][0])
        connected.update([] if host == "localhost" or ipaddress.ip_address(host).is_loopback else [host])
    elif watched and event in TOUCHING and isinstance(arguments[0], (str, bytes, os.PathLike)):
        folder, name = os.path.split(os.path.abspath(os.fsdecode(arguments[0])))
        place = os.path.join(os.path.realpath(folder), name)
        watched[0].add((event, os.path.realpath(place) if event in FOLLOWING else place))


class WanCastProbeTouched(FreshProbe):
    """Begins to watch the disks; the next time it says what was touched since, and ends."""

    INPUTS = ()
    OUTPUTS = (io.AnyType.Output("touched"),)
    SHOWS = True

    @classmethod
    def execute(cls) -> io.NodeOutput:
        touched = sorted(watched.pop()) if watched else watched.append(set()) or []
        return io.NodeOutput(touched, ui={"touched": touched, "connected": sorted(connected)})


sys.addaudithook(watch)  # it stays as long as the process
