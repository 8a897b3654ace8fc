"""A fit that survives the process: its state and a picture of its curve in a folder, and a line now and then."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from PIL import Image

from wan_core.errors import InputError, quoted
from wan_core.media.chart import Curve, line_chart
from wan_core.training import FitState

FACTS_KEY = "wancast_fit_of"  # in a state's metadata: what it is of
SECONDS_A_LINE = 10
SECONDS_A_STATE = 60
FIRST_SHARE_HIDDEN = 0.02  # of the curve, where losses are so high that the rest would be flat


class KeptFit:
    """The files of one fit, ``NAME.state.safetensors`` and ``NAME.png``; ``on_report`` is for ``fit``."""

    def __init__(self, folder: Path, name: str, steps: int, facts: Mapping[str, str] | None = None) -> None:
        """``facts``: what the fit is of, by names; a state of other facts is refused."""
        self.name, self.steps, self.facts = name, steps, dict(facts or {})
        self.state_path = folder / f"{name}.state.safetensors"
        self.curve_path = folder / f"{name}.png"
        self.last_line = self.last_state = self.began = time.monotonic()
        self.first_step = 0

    def read(self) -> FitState | None:
        """The state to go on from; None where there is none. Raises InputError for one of other facts."""
        if not self.state_path.is_file():
            return None
        with safetensors.safe_open(self.state_path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = FitState.of_file({key: file.get_tensor(key) for key in file.offset_keys()}, metadata)
        self._require_own(json.loads(metadata.get(FACTS_KEY, "{}")))
        sys.stdout.write(f"{self.name}: goes on from step {state.step}\n")
        self.first_step = state.step
        return state

    def _require_own(self, found: Mapping[str, str]) -> None:
        others = sorted(name for name in found.keys() | self.facts.keys() if found.get(name) != self.facts.get(name))
        if others:
            raise InputError(
                "state",
                found=f"{quoted(self.state_path.name)} of a training with another {', '.join(others)}",
                wanted="that of this training",
                fix="Give everything as it was to go on, or another folder for states to begin anew.",
            )

    def on_report(self, state: FitState) -> None:
        """A line every 10 seconds; the state and the curve every minute and at the end."""
        now, is_last = time.monotonic(), state.step >= self.steps
        if is_last or now - self.last_line >= SECONDS_A_LINE:
            self.last_line = now
            report = state.curve[-1]
            losses = ", ".join(f"{name} {value:.4f}" for name, value in report.losses.items())
            pace_s = (now - self.began) / (state.step - self.first_step)
            sys.stdout.write(
                f"{self.name}: step {state.step} of {self.steps}, {losses}, gradient {report.gradient_norm:.3g}, "
                f"rate {report.learning_rate:.2e}, {pace_s:.3f} s a step\n"
            )
            sys.stdout.flush()
        if is_last or now - self.last_state >= SECONDS_A_STATE:
            self.write(state)
            self.last_state = time.monotonic()

    def write(self, state: FitState) -> None:
        """Both files, each whole or as it was."""
        write_tensors(self.state_path, state.tensors(), state.metadata() | {FACTS_KEY: json.dumps(self.facts)})
        write_picture(self.curve_path, curve_picture(self.name, state))


def curve_picture(name: str, state: FitState) -> torch.Tensor:
    """The losses by step, 1 h w 3 in [0, 1]."""
    shown = state.curve[int(len(state.curve) * FIRST_SHARE_HIDDEN) :]
    steps = [report.step for report in shown]
    curves = [Curve(loss, steps, [report.losses[loss] for report in shown]) for loss in shown[-1].losses]
    return line_chart(curves, title=f"{name}: {state.step} steps", x_label="step", y_label="loss")


# Files


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A file to write in the block: it takes the place of ``path`` when it is whole; an error leaves what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_tensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    """A safetensors file."""
    own = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    with replaced(path) as part:
        safetensors.torch.save_file(own, part, metadata)


def write_picture(path: Path, picture: torch.Tensor) -> None:
    """A picture, 1 h w 3 in [0, 1], as PNG."""
    pixels = (picture[0] * 255).round().byte().numpy()
    with replaced(path) as part:
        Image.fromarray(pixels).save(part, format="PNG")
