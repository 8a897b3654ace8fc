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
TOOL_REQUIREMENTS = ROOT / "tests" / "requirements.txt"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


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


def chromium() -> str | None:
    """The browser of the ui tests: CHROMIUM, else one on PATH."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
