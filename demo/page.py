"""The page of the demo: one HTML file beside its pictures, without scripts or anything of the network."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from string import Template

from .contact_sheet import contact_sheet
from .film import write_film
from .takes import Rushes, Shot, Take
from .workflow import COMPARISON

TEMPLATE = Template(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))


def leave(rushes: Rushes, out: Path) -> Path:
    """Writes the page, its pictures, the film and all numbers into the folder ``out``; returns the page."""
    out.mkdir(parents=True, exist_ok=True)
    for name, chart, faces in zip(("locked", "not_locked"), rushes.charts, rushes.faces, strict=True):
        chart.save(out / f"likeness_{name}.png")
        faces.save(out / f"faces_{name}.png")
    rushes.schedule.save(out / "schedule.png")
    contact_sheet(rushes.portrait, rushes.shots).save(out / "contact_sheet.png")
    write_film(rushes.shots, out / "film.mp4")
    (out / "report.json").write_text(json.dumps(report(rushes), indent=2) + "\n", encoding="utf-8")
    page = out / "index.html"
    page.write_text(html(rushes), encoding="utf-8")
    return page


def html(rushes: Rushes) -> str:
    """The page."""
    return TEMPLATE.substitute(
        count=len(rushes.shots),
        sheet_alt=escape(sheet_text(rushes.shots)),
        rows="\n".join(map(table_row, rushes.shots)),
        reports="\n".join(report_block(title, text) for title, text in rushes.reports.items()),
        template=escape(COMPARISON),
        seconds=round(rushes.wall_s),
    )


def sheet_text(shots: tuple[Shot, ...]) -> str:
    """The contact sheet in words."""
    described = (
        f"Shot {number}, {shot.prompt}: likeness {shot.locked.likeness_text} locked, "
        f"{shot.unlocked.likeness_text} not locked."
        for number, shot in enumerate(shots, start=1)
    )
    return " ".join(["Contact sheet: the portrait, a row of locked shots, a row of the same without lock.", *described])


def table_row(shot: Shot) -> str:
    """One shot in the table."""
    cells = take_cell(shot.locked, "locked") + take_cell(shot.unlocked, "not-locked")
    return f'    <tr><th scope="row">{escape(shot.prompt)}</th>{cells}</tr>'


def take_cell(take: Take, kind: str) -> str:
    """One take of a shot in the table."""
    return f'<td class="{kind}">{take.likeness_text} <small>{take.faces_text}</small></td>'


def report_block(title: str, text: str) -> str:
    """What one node says, folded up."""
    return f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>"


def report(rushes: Rushes) -> dict[str, object]:
    """All numbers, and the nodes' own reports."""
    shots = [
        {"prompt": shot.prompt, "locked": numbers(shot.locked), "not_locked": numbers(shot.unlocked)}
        for shot in rushes.shots
    ]
    reports = {title: text.splitlines() for title, text in rushes.reports.items()}
    return {"wall_s": round(rushes.wall_s, 2), "shots": shots, "reports": reports}


def numbers(take: Take) -> dict[str, float | None]:
    """One take in the report."""
    return {"likeness": take.likeness, "face_found": take.found, "frames": len(take.frames)}
