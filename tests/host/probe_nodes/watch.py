"""What the process of the host opens and changes on its disks, between one prompt and another."""

from __future__ import annotations

import os
import sys
from typing import Any

from comfy_api.latest import io

from .probe import FreshProbe

FOLLOWING = ("open", "os.listdir", "os.scandir", "os.truncate")  # a link to what it leads to
TOUCHING = (*FOLLOWING, "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink")

watched: list[set[tuple[str, str]]] = []  # the set that is being filled, if any


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if watched and event in TOUCHING and isinstance(arguments[0], (str, bytes, os.PathLike)):
        folder, name = os.path.split(os.path.abspath(os.fsdecode(arguments[0])))
        place = os.path.join(os.path.realpath(folder), name)
        watched[0].add((event, os.path.realpath(place) if event in FOLLOWING else place))


class WanCastProbeWatch(FreshProbe):
    """Begins to watch; the next time it says what was touched since, and ends."""

    INPUTS = ()
    OUTPUTS = (io.AnyType.Output("touched"),)
    SHOWS = True
    HOOKED = []  # a hook stays as long as the process

    @classmethod
    def execute(cls) -> io.NodeOutput:
        if watched:
            touched = sorted(watched.pop())
            return io.NodeOutput(touched, ui={"touched": touched})
        if not cls.HOOKED:
            cls.HOOKED.append(sys.addaudithook(watch))
        watched.append(set())
        return io.NodeOutput([], ui={"touched": []})
