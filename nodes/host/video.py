"""Where a video file of ours goes, what the host embeds in it, and its sound."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

import folder_paths
from comfy.cli_args import args
from comfy_api.latest import InputImpl, io, ui

from ...wan_core.errors import InputError, printable, quoted
from ...wan_core.media.files import checked_prefix, not_writable
from ...wan_core.media.sound import checked_sound
from ...wan_core.media.soundtrack import Soundtrack
from ...wan_core.media.source import VideoSource
from .devices import progress

LOOP_MARK = "_loop_"  # begins what newer hosts write into the prompt's nodes


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

    Raises InputError for a prefix that leads out of it, and for a place that cannot be written to.
    """
    kind = io.FolderType.output if keep else io.FolderType.temp
    root = folder_paths.get_output_directory() if keep else folder_paths.get_temp_directory()
    name = os.path.join(*checked_prefix(prefix).split("/"))
    try:
        folder, stem, counter, subfolder, _ = folder_paths.get_save_image_path(name, root, width_px, height_px)
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise not_writable(error) from error
    except Exception as error:
        raise InputError(
            "filename_prefix",
            found=f"{quoted(prefix)}, which leads elsewhere",
            wanted=f"a name inside the {kind.value} folder",
            fix="Choose a subfolder that is no link to a place outside.",
        ) from error
    return SavePlace(folder, stem, counter, subfolder, kind)


def host_tags(hidden: Any) -> dict[str, str]:
    """The prompt and the workflow as the host embeds them, so that the file dropped on the page opens the workflow."""
    if args.disable_metadata:
        return {}
    extra = hidden.extra_pnginfo if isinstance(hidden.extra_pnginfo, dict) else {}  # a prompt may bring anything
    given = {"prompt": as_queued(hidden.prompt), **extra}
    return {printable(name): json.dumps(value) for name, value in given.items() if value is not None}


def as_queued(prompt: dict[str, dict[str, Any]] | None) -> dict[str, dict[str, Any]] | None:
    """The prompt without what the host itself writes into the nodes that begin a loop."""
    if prompt is None:
        return None
    return {
        node_id: {key: value for key, value in node.items() if not key.startswith(LOOP_MARK)}
        for node_id, node in prompt.items()
    }


def soundtrack_of(audio: object) -> Soundtrack | None:
    """The host's AUDIO as a sound track; None for none."""
    if audio is None:
        return None
    sound = checked_sound(audio)
    return Soundtrack(sound.waveform, sound.rate_hz)


def source_of(video: InputImpl.VideoFromFile) -> VideoSource:
    """The file of a VIDEO, open; of one that was trimmed, the part that is left."""
    start_s, duration_s = video.get_active_trim_window()
    return VideoSource(video.get_stream_source(), start_s=start_s, duration_s=duration_s, progress=progress)


def label(path: str, place: SavePlace) -> str:
    """The file as the user finds it: the host's folder, the subfolder and the name."""
    return "/".join(filter(None, [place.kind.value, place.subfolder, os.path.basename(path)]))


def shown(path: str, place: SavePlace) -> ui.PreviewVideo:
    """The file, played on the node."""
    return ui.PreviewVideo([ui.SavedResult(os.path.basename(path), place.subfolder, place.kind)])
