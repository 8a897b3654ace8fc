"""The host's own modules in this process, so that what is trained is what the host runs."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch

from . import places
from .shell import Problem


def host_module(name: str) -> ModuleType:
    """A module of the host, such as comfy.sd, set to what gradients can go through.

    It computes on CUDA where it is there, else on the CPU. Raises Problem where there is no host.
    """
    host = str(places.users_host() or places.OWN_HOST)
    if not Path(host, "main.py").is_file():
        raise Problem(f"There is no ComfyUI in {host}: set COMFYUI_PATH, or run `python dev.py test` once.")
    if host not in sys.path:
        sys.path.append(host)  # last: the host has a module `nodes` too
        import_module("comfy.cli_args").args.cpu = not torch.cuda.is_available()
        import_module("comfy.model_management").in_training = True
    return import_module(name)
