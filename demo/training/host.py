"""The host's own classes in the process that trains, so that what is trained is what the host will run."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

import torch

from devtools import places


def host_module(name: str) -> ModuleType:
    """A module of the host, such as comfy.ldm.wan.model, set to what gradients can pass through."""
    host = str(places.users_host() or places.OWN_HOST)
    if host not in sys.path:
        sys.path.append(host)  # last: the host has a module `nodes` too
        import_module("comfy.cli_args").args.cpu = not torch.cuda.is_available()
        import_module("comfy.model_management").in_training = True
    return import_module(name)
