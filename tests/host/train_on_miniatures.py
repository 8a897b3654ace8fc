"""The trainer's command on the miniature networks, whose text encoder is too small for the host's own loader.

With STOP_AT in the environment it ends at that step with its state written, as a process that is killed may. Several
commands, with NEXT between them, are given one after the other.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from itertools import groupby

from devtools.host_modules import host_module
from devtools.kept_fit import KeptFit
from devtools.train_adapter import Loaders, host_loaders, main
from wan_core.training import FitState

NEXT = "next"


def loaders() -> Loaders:
    """The host's, and the demo's for the text encoder."""
    host, load = host_loaders(), host_module("comfy.utils").load_torch_file
    from demo.host_nodes import umt5_clip

    return replace(host, text_encoder=lambda path: umt5_clip(load(str(path))))


class StoppedFit(KeptFit):
    """Ends the process in the middle of a fit."""

    def on_report(self, state: FitState) -> None:
        super().on_report(state)
        if state.step >= int(os.environ["STOP_AT"]):
            self.write(state)
            raise SystemExit(3)


if __name__ == "__main__":
    if "STOP_AT" in os.environ:
        import devtools.train_adapter

        devtools.train_adapter.KeptFit = StoppedFit
    commands = [list(group) for is_next, group in groupby(sys.argv[1:], NEXT.__eq__) if not is_next]
    raise SystemExit(max([main(command, loaders) for command in commands]))
