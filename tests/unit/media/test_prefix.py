"""What a filename prefix may be: a way down, on every system."""

from __future__ import annotations

import ntpath
import os
import random
from pathlib import Path

import pytest

from wan_core.errors import InputError
from wan_core.media.files import checked_prefix

PIECES = [
    *("..", ".", "...", "/", "\\", "//", "C:", "CON", "nul.txt", "com\u00b9", "~", "%date%", "%2e%2e", "[output]", " "),
    *(
        "\0",
        "\n",
        "\u202e",
        "\ud800",
        "\u5b57" * 40,
        "a" * 90,
        "shot",
        "link",
        "$HOME",
        "$(id)",
        "*",
        "|",
        "-",
        "\u2215",
    ),
]


@pytest.mark.parametrize(
    ("prefix", "wanted"),
    [
        *(("shot", "shot"), ("video/shot", "video/shot"), ("video\\day 1//./shot.v2", "video/day 1/shot.v2")),
        *(("%date%_%width%x%height%", "%date%_%width%x%height%"), ("\u955c\u5934/\u4e00", "\u955c\u5934/\u4e00")),
        *(("video/shot/", "video/shot"), ("console/.hidden [output]", "console/.hidden [output]"), ("a..b", "a..b")),
    ],
)
def test_a_way_down_is_taken_with_one_kind_of_separator(prefix: str, wanted: str) -> None:
    assert checked_prefix(prefix) == wanted


@pytest.mark.parametrize(
    "prefix",
    [
        *(
            None,
            3,
            ["shot"],
            "",
            " ",
            ".",
            "..",
            "/",
            "/shot",
            "\\shot",
            "\\\\server\\share\\shot",
            "C:\\shot",
            "c:shot",
        ),
        *("../shot", "a/../../shot", "a\\..\\shot", "a/..", "shot.", "shot ", "a./shot", "a /shot", "con", "a/NUL.mp4"),
        *("lpt1 .x", "COM\u00b2", "shot:stream", "a<b", "a?", "a\0b", "a\nb", "a\u202eb", "\ud800", "\u200bshot"),
        *("a" * 201, "\u5b57" * 67, "a/" * 16 + "shot", "x" * 4096),
    ],
)
def test_anything_else_is_refused_by_name(prefix: object) -> None:
    with pytest.raises(InputError, match="^filename_prefix: found .*; wanted (a name|names)"):
        checked_prefix(prefix)


def test_whatever_comes_through_stays_below_the_folder_on_every_system(tmp_path: Path) -> None:
    chance, taken = random.Random(0), 0
    for _ in range(30_000):
        try:
            name = checked_prefix("".join(chance.choices(PIECES, k=chance.randint(1, 6))))
        except InputError:
            continue
        taken += 1
        for path, root in ((os.path, str(tmp_path)), (ntpath, "D:\\output")):
            place = path.normpath(path.join(root, *name.split("/")))
            assert place.startswith(root + path.sep), name
            assert path.relpath(place, root).split(path.sep) == name.split("/"), name
    assert taken > 1000
