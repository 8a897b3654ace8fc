"""A newer front end than the host's own, for its option --front-end-root: fetched once, checked, unpacked."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from .places import CACHE
from .setup import pip

VERSION = "1.58.1"
WHEEL_SHA256 = "37912597537a731a8f421179618a736c24184c5bdbfa327f38b2fb7c291852d9"
STATIC = "comfyui_frontend_package/static"


def newer_front_end() -> Path:
    """The folder of the page's files; it is whole or not there at all."""
    folder = CACHE / "front_end" / VERSION
    if folder.is_dir():
        return folder
    downloads, partial = CACHE / "downloads", folder.with_name(f"{VERSION}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    downloads.mkdir(parents=True, exist_ok=True)
    pinned = downloads / "front_end.txt"
    pinned.write_text(f"comfyui-frontend-package=={VERSION} --hash=sha256:{WHEEL_SHA256}\n", encoding="ascii")
    options = ("--no-deps", "--only-binary=:all:", "--require-hashes")
    pip(f"Front end {VERSION}", "download", *options, "-r", pinned, "-d", downloads, log_name="front_end.log")
    with zipfile.ZipFile(downloads / f"comfyui_frontend_package-{VERSION}-py3-none-any.whl") as wheel:
        pages = [name for name in wheel.namelist() if name.startswith(f"{STATIC}/") and not name.endswith(".map")]
        wheel.extractall(partial, pages)
    (partial / STATIC).rename(folder)
    shutil.rmtree(partial)
    return folder
