"""Where a video file of ours goes, what the host embeds in it, and the file as the host's VIDEO."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

import folder_paths
from comfy.cli_args import args
from comfy_api.latest import InputImpl, io, ui

from ...wan_core.errors import InputError

LONGEST_NAME = 150  # letters of a file's name; with the number and the ending it fits any file system


@dataclass(frozen=True, slots=True)
class SavePlace:
    """A place for a file of the user's naming."""

    folder: str  # full path; it exists
    stem: str
    counter: int  # the first number that may be free
    subfolder: str  # of the host's folder
    kind: io.FolderType


def save_place(prefix: str, width_px: int, height_px: int, *, keep: bool) -> SavePlace:
    """The place that a filename prefix means, in the output folder or, not to ``keep``, in the temporary one.

    Raises InputError for a prefix that leads out of it.
    """
    kind = io.FolderType.output if keep else io.FolderType.temp
    name = os.path.basename(os.path.normpath(prefix)) if isinstance(prefix, str) else ""
    if name in ("", ".", "..") or len(name) > LONGEST_NAME:
        raise InputError(
            "filename_prefix", found=repr(prefix), wanted=f"a name of 1 to {LONGEST_NAME} letters",
            fix="Write one, like video/shot.",
        )
    root = folder_paths.get_output_directory() if keep else folder_paths.get_temp_directory()
    try:
        folder, stem, counter, subfolder, _ = folder_paths.get_save_image_path(prefix, root, width_px, height_px)
    except Exception as error:
        raise InputError(
            "filename_prefix", found=repr(prefix), wanted=f"a name inside the {kind.value} folder",
            fix="Leave out .. and drive letters; a subfolder is fine, like video/shot.",
        ) from error
    os.makedirs(folder, exist_ok=True)
    return SavePlace(folder, stem, counter, subfolder, kind)


def host_tags(hidden: Any) -> dict[str, str]:
    """The prompt and the workflow as the host embeds them, so that the file dropped on the page opens the workflow."""
    if args.disable_metadata:
        return {}
    given = {"prompt": hidden.prompt, **(hidden.extra_pnginfo or {})}
    return {name: json.dumps(value) for name, value in given.items() if value is not None}


def as_video(path: str) -> InputImpl.VideoFromFile:
    """A finished file as the host's VIDEO."""
    return InputImpl.VideoFromFile(path)


def label(path: str, place: SavePlace) -> str:
    """The file as the user finds it: the host's folder, the subfolder and the name."""
    return "/".join(filter(None, [place.kind.value, place.subfolder, os.path.basename(path)]))


def shown(path: str, place: SavePlace) -> ui.PreviewVideo:
    """The file, played on the node."""
    return ui.PreviewVideo([ui.SavedResult(os.path.basename(path), place.subfolder, place.kind)])


class MadeFiles:
    """Notices when the file that a node made last is gone, so that the node makes it again instead of a dead link."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}  # node id -> path
        self._losses: dict[str, int] = {}  # node id -> how often its file was gone

    def made(self, node_id: str, path: str) -> None:
        """Remembers what a node made."""
        self._last[node_id] = path

    def losses(self, node_id: str) -> int:
        """How often the node's file was gone by now; it changes when the file has gone since the last time."""
        path = self._last.get(node_id)
        if path is not None and not os.path.exists(path):
            del self._last[node_id]
            self._losses[node_id] = self._losses.get(node_id, 0) + 1
        return self._losses.get(node_id, 0)
