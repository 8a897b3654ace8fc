"""A fit that survives the process: its state and a picture of its curve in a folder, and a line now and then."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from PIL import Image

from wan_core.media.chart import Curve, line_chart
from wan_core.training import FitState

SECONDS_A_LINE = 10
SECONDS_A_STATE = 60
FIRST_SHARE_HIDDEN = 0.02  # of the curve, where losses are so high that the rest would be flat


class KeptFit:
    """The files of one fit, ``NAME.state.safetensors`` and ``NAME.png``; ``on_report`` is for ``fit``."""

    def __init__(self, folder: Path, name: str, steps: int) -> None:
        self.name, self.steps = name, steps
        self.state_path = folder / f"{name}.state.safetensors"
        self.curve_path = folder / f"{name}.png"
        self.last_line = self.last_state = self.began = time.monotonic()
        self.first_step = 0

    def read(self) -> FitState | None:
        """The state to go on from; None where there is none."""
        if not self.state_path.is_file():
            return None
        with safetensors.safe_open(self.state_path, framework="pt") as file:
            state = FitState.of_file({key: file.get_tensor(key) for key in file.offset_keys()}, file.metadata() or {})
        sys.stdout.write(f"{self.name}: goes on from step {state.step}\n")
        self.first_step = state.step
        return state

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
        write_tensors(self.state_path, state.tensors(), state.metadata())
        write_picture(self.curve_path, curve_picture(self.name, state))


def curve_picture(name: str, state: FitState) -> torch.Tensor:
    """The losses by step, 1 h w 3 in [0, 1]."""
    shown = state.curve[int(len(state.curve) * FIRST_SHARE_HIDDEN) :]
    steps = [report.step for report in shown]
    curves = [Curve(loss, steps, [report.losses[loss] for report in shown]) for loss in shown[-1].losses]
    return line_chart(curves, title=f"{name}: {state.step} steps", x_label="step", y_label="loss")


# Files


def write_tensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    """A safetensors file, whole or what was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    own = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    try:
        safetensors.torch.save_file(own, part, metadata)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_picture(path: Path, picture: torch.Tensor) -> None:
    """A picture, 1 h w 3 in [0, 1], as PNG, whole or what was there before."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    pixels = (picture[0] * 255).round().byte().numpy()
    try:
        Image.fromarray(pixels).save(part, format="PNG")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
