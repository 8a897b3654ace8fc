"""The page of the demo: one HTML file beside its pictures, without scripts or anything of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template

from .takes import Shot, Take

TEMPLATE = Template(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))


def page(shots: Sequence[Shot], reports: Mapping[str, Sequence[str]], *, template: str, wall_s: float) -> str:
    """The page; ``reports``: what the nodes say, line by line; ``template``: the workflow's name in the host's dialog."""
    return TEMPLATE.substitute(
        count=len(shots),
        sheet_alt=escape(sheet_text(shots)),
        rows="\n".join(map(table_row, shots)),
        reports="\n".join(report_block(title, lines) for title, lines in reports.items()),
        template=escape(template),
        seconds=round(wall_s),
    )


def sheet_text(shots: Sequence[Shot]) -> str:
    """The contact sheet in words."""
    described = (
        f"Shot {number}, {shot.prompt} Likeness locked: {shot.locked.likeness_text}; "
        f"not locked: {shot.unlocked.likeness_text}."
        for number, shot in enumerate(shots, start=1)
    )
    return " ".join(["Contact sheet: the portrait, a row of locked shots, a row of shots without the lock.", *described])


def table_row(shot: Shot) -> str:
    """One shot in the table."""
    cells = take_cell(shot.locked, "locked") + take_cell(shot.unlocked, "not-locked")
    return f'    <tr><th scope="row">{escape(shot.prompt)}</th>{cells}</tr>'


def take_cell(take: Take, kind: str) -> str:
    """One take of a shot in the table."""
    return f'<td class="{kind}">{take.likeness_text} <small>{take.faces_text}</small></td>'


def report_block(title: str, lines: Sequence[str]) -> str:
    """What one node says, folded up."""
    return f"<details><summary>{escape(title)}</summary><pre>{escape(chr(10).join(lines))}</pre></details>"
