"""The videos that killed runs left in the output folder: told at the start, and removed where the user wants that."""

from __future__ import annotations

import json
import os
import threading
from logging import getLogger

import folder_paths

from ...wan_core.errors import printable, quoted
from ...wan_core.media.files import MIB, left_overs
from .files import file_content

REMOVE_SETTING = "WanCast.removeUnfinishedVideos"  # of the page; web/main.js

log = getLogger(__name__)


def start_looking_for_left_overs() -> None:
    """Looks through the output folder on a thread of its own: it may be large, and the host is starting."""
    threading.Thread(target=tell_left_overs, name="wancast-left-overs", daemon=True).start()


def tell_left_overs() -> None:
    """Says in the log which unfinished videos lie in the output folder; removes them where the user wants that."""
    root = folder_paths.get_output_directory()
    removed = user_setting(REMOVE_SETTING) is True
    videos = list(left_overs(root, removed=removed))
    if not videos:
        return
    mib = sum(video.disk_bytes for video in videos) / MIB
    where = ", ".join(map(quoted, sorted({os.path.relpath(video.folder, root) for video in videos})))
    fate = "Each recording (.partial) plays; a setting of WanCast removes them, and their copies, at the next start."
    found = f"{len(videos)}, {mib:.1f} MiB, in output: {where}. {'They are removed.' if removed else fate}"
    log.warning(printable(f"Unfinished videos of killed runs: {found}"))


def user_setting(name: str) -> object:
    """What the host's default user chose on the page; None where that is nothing, or damaged."""
    path = os.path.join(folder_paths.get_user_directory(), "default", "comfy.settings.json")
    try:
        settings = json.loads(file_content(path))
    except (OSError, ValueError):
        return None
    return settings.get(name) if isinstance(settings, dict) else None
