"""What a filename prefix may be: a way down, on every system."""

from __future__ import annotations

import ntpath
import os
import random
from pathlib import Path

import pytest

from wan_core.errors import InputError
from wan_core.media.files import checked_prefix

BRICKS = "../ ./ .. ... / \\ // C: CON nul.txt com\u00b9 ~ %date% %2e%2e [output] shot link $HOME * | - \u2215"
PIECES = [*BRICKS.split(), " ", "\0", "\n", "\u202e", "\ud800", "\u5b57" * 40, "a" * 90]
TAKEN = {
    **{name: name for name in ("shot", "a..b", "video/.hidden [output]", "%date%_%width%", "\u955c\u5934/\u4e00")},
    **{"video\\day 1//./shot.v2": "video/day 1/shot.v2", "video/shot/": "video/shot", "console/com10": "console/com10"},
}
WAYS_OUT = r". .. / /shot \shot \\server\share\shot C:\shot c:shot ../shot a/../../shot a\..\shot a/.. shot. a./shot"
NO_NAMES = "con a/NUL.mp4 COM\u00b2 shot:stream a<b a? a\u202eb \ud800 \u200bshot"
REFUSED = [
    *(*WAYS_OUT.split(), *NO_NAMES.split(), None, 3, ["shot"], "", " ", "shot ", "a /shot", "lpt1 .x", "a\0b", "a\nb"),
    *("a" * 201, "\u5b57" * 67, "a/" * 16 + "shot", "x" * 4096),
]


@pytest.mark.parametrize(("prefix", "wanted"), TAKEN.items())
def test_a_way_down_is_taken_with_one_kind_of_separator(prefix: str, wanted: str) -> None:
    assert checked_prefix(prefix) == wanted


@pytest.mark.parametrize("prefix", REFUSED)
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
