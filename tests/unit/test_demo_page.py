"""What the demo leaves: a sheet, a film and a page that show the takes and need nothing else."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from demo.contact_sheet import BAR_PX, RULE, contact_sheet
from demo.film import MARGIN_PX, PROMPT_PX, SIDE_PX, TIMES_SHOWN
from demo.lettering import LOCKED_INK, UNLOCKED_INK
from demo.page import leave
from demo.takes import Rushes, Shot, Take

FRAMES = 5
PORTRAIT = (90, 200, 250)
VOID = {"meta", "img", "link", "br"}


def plain(colour: tuple[int, int, int], side_px: int = 96) -> Image.Image:
    return Image.new("RGB", (side_px, side_px), colour)


def take(red: int, likeness: float | None) -> Take:
    return Take(tuple(plain((red, 40 * number, 0)) for number in range(FRAMES)), likeness, 1.0)


SHOTS = (
    Shot("a woman <waves> & smiles", take(200, 0.75), take(100, 0.25)),
    Shot("a woman walks", take(180, 0.5), take(80, None)),
    Shot("a woman talks", take(160, 1.0), take(60, -0.5)),
)


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chart = plain((255, 255, 255))
    reports = {"Likeness, locked": "passed: <all>"}
    rushes = Rushes(plain(PORTRAIT, 256), SHOTS, (chart, chart), (chart, chart), chart, reports, 61.4)
    return leave(rushes, tmp_path_factory.mktemp("demo_out")).parent


def test_the_sheet_shows_the_middle_of_every_take_and_bars_as_long_as_the_likeness() -> None:
    sheet = np.asarray(contact_sheet(plain(PORTRAIT, 256), SHOTS))
    assert (sheet == PORTRAIT).all(-1).sum() > 200**2
    for at, shot in enumerate(SHOTS):
        for one, ink in ((shot.locked, LOCKED_INK), (shot.unlocked, UNLOCKED_INK)):
            rows, columns = np.nonzero((sheet == one.frames[FRAMES // 2].getpixel((0, 0))).all(-1))
            left, right = columns.min(), columns.max()
            assert right - left > 250 and rows.max() - rows.min() > 250
            below = sheet[rows.max() + 1 :, left : right + 1]
            bar = below[np.argmax((below == RULE).all(-1).any(1) | (below == ink).all((1, 2))) + BAR_PX // 2]
            share = (bar == ink).all(-1).mean()
            assert abs(share - max(0.0, one.likeness or 0.0)) < 0.02, at


def test_the_film_shows_every_shot_twice_with_the_locked_take_at_the_left(left: Path) -> None:
    with av.open(str(left / "film.mp4")) as film:
        assert film.streams.video[0].average_rate == 16
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) == len(SHOTS) * TIMES_SHOWN * FRAMES
    y, x = PROMPT_PX + SIDE_PX // 2, MARGIN_PX + SIDE_PX // 2
    wanted = [pair for shot in SHOTS for pair in list(zip(shot.locked.frames, shot.unlocked.frames, strict=True)) * 2]
    for frame, pair in zip(frames, wanted, strict=True):
        for place, one in enumerate(pair):
            seen = frame[y, x + place * (SIDE_PX + MARGIN_PX)].astype(int)
            assert np.abs(seen - one.getpixel((0, 0))).max() < 12


class Reader(HTMLParser):
    """Collects what a page links to, the pictures without words, and checks that tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.silent: list[str] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        about = dict(attrs)
        self.links |= {about[name] or "" for name in ("src", "href", "srcset", "poster") if name in about}
        if tag in ("img", "video") and not (about.get("alt") or about.get("aria-label")):
            self.silent.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_only_the_files_beside_it_and_says_what_they_show(left: Path) -> None:
    content = (left / "index.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(content)
    assert reader.open == [] and reader.silent == []
    assert reader.links | {"index.html"} == {path.name for path in left.iterdir()}
    assert not re.search(r"https?:|@import|url\(|<script", content)
    assert "prefers-color-scheme: dark" in content and 'lang="zh"' in content
    shown = {shot.prompt for shot in SHOTS} | {"0.75", "no face", "-0.50", "face in 5 of 5 frames", "passed: <all>"}
    assert not [text for text in shown if text not in reader.text]


def test_the_report_holds_the_numbers_as_they_were_measured(left: Path) -> None:
    report = json.loads((left / "report.json").read_text(encoding="utf-8"))
    assert [shot["locked"]["likeness"] for shot in report["shots"]] == [0.75, 0.5, 1.0]
    assert [shot["not_locked"]["likeness"] for shot in report["shots"]] == [0.25, None, -0.5]
    assert report["wall_s"] == 61.4 and report["reports"] == {"Likeness, locked": ["passed: <all>"]}
