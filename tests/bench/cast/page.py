"""What a part of the benchmark leaves: text for RESULTS.md, charts and contact sheets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from demo import world
from tests.bench.cast.figures import Goal, Interval
from wan_core.media.chart import Curve, Mark, line_chart
from wan_core.media.sheet import Cell, contact_sheet


@dataclass(frozen=True, slots=True)
class Page:
    """One part's folder, and its text so far."""

    folder: Path
    title: str
    lines: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.lines.extend([text, ""])

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        shown = [[f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
        lines = [heads, ["---"] * len(heads), *shown]
        self.lines.extend([*(f"| {' | '.join(line)} |" for line in lines), ""])

    def goals(self, found: Sequence[tuple[str, Interval, Goal]]) -> None:
        """What was wanted, what was found, and whether it was kept."""
        rows = [(what, figure, goal.verdict(figure)) for what, figure, goal in found]
        self.table(("wanted", "found, with its 95 % interval", "goal"), rows)

    def chart(
        self,
        name: str,
        x: Sequence[float],
        curves: Mapping[str, Sequence[float]],
        marks: Sequence[Mark] = (),
        **words: str,
    ) -> None:
        drawn = [Curve(label, x, y, points=True) for label, y in curves.items()]
        save(self.folder / f"{name}.png", line_chart(drawn, marks=marks, **words))

    def sheet(self, name: str, rows: Sequence[Sequence[Cell]]) -> None:
        save(self.folder / f"{name}.png", contact_sheet(rows))

    def close(self) -> str:
        """Writes the text beside the pictures and returns it."""
        text = "\n".join([f"### {self.title}", "", *self.lines])
        (self.folder / "results.md").write_text(text, encoding="utf-8")
        return text


def cell(film: np.ndarray, caption: str, detail: str = "", at: int = world.FRAMES // 2) -> Cell:
    """A frame of a film f h w 3 uint8 with a caption; ``at`` is its number from 0."""
    return Cell(torch.from_numpy(film[at]).float() / 255, caption, detail)


def save(path: Path, image: torch.Tensor) -> None:
    """Writes an IMAGE, 1 h w 3, as a PNG."""
    Image.fromarray((image[0] * 255).round().byte().numpy()).save(path)
