"""Where things lie, and which host is meant."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from .shell import ROOT, Problem

VENV = ROOT / ".venv"
OWN_HOST = ROOT / ".host"
CACHE = ROOT / ".cache"
LOGS = CACHE / "logs"
MODELS = CACHE / "demo" / "models"
PEOPLE = CACHE / "people"  # pictures of real people, for tests
TOOL_REQUIREMENTS = ROOT / "tests" / "requirements.txt"
JUDGE_REQUIREMENTS = ROOT / "tests" / "requirements-judge.txt"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")


class NoBrowserError(Problem):
    """There is no Chromium to drive; the message says where one was looked for."""


def venv_python() -> Path:
    """The interpreter of our own environment, whether or not it is there yet."""
    return VENV / "Scripts" / "python.exe" if sys.platform == "win32" else VENV / "bin" / "python"


def users_host() -> Path | None:
    """The host that the user has: COMFYUI_PATH, else the one whose custom_nodes holds the pack; None without one."""
    if named := os.environ.get("COMFYUI_PATH"):
        host = Path(os.path.abspath(os.path.expanduser(named)))
        if not (host / "main.py").is_file():
            raise Problem(f"COMFYUI_PATH is {host}, where no main.py lies; set it to a ComfyUI's folder, or unset it.")
        return host
    if ROOT.parent.name == "custom_nodes" and (ROOT.parents[1] / "main.py").is_file():
        return ROOT.parents[1]
    return None


def find_browser() -> str:
    """The path of a Chromium: the one that CHROMIUM names, else the first one on PATH; raises NoBrowserError."""
    named = os.environ.get("CHROMIUM")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None and named:
        raise NoBrowserError(f"CHROMIUM names {named!r}, which is not there")
    if found is None:
        raise NoBrowserError(f"none of {', '.join(BROWSERS)} is on PATH; CHROMIUM can name one")
    return found
