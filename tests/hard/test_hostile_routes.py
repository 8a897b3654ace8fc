"""Hostile values by the thousand through every route of the page: nothing outside the library is touched."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from posixpath import normpath
from random import Random
from urllib.parse import quote

import pytest

from devtools import client as api
from devtools.server import HostServer
from tests.hard import hostile
from tests.host.live import Client, Graph
from tests.host.page_calls import CHARACTERS, JSON, Answer, ask, edit, take_in
from tests.unit.identity.some_characters import SMALL
from wan_core.identity.character_file import write_character

ANSWER_LIMIT_S = 1.0
LONGEST_ADDRESS = 8000  # of a longer one the host's server reads no more than that it is too long
LIBRARY = Path("user", "__wancast")


def tree(base: Path) -> str:
    """A hash of the names and times of all that the host has, but for the library and what it logs."""
    files = (path for path in sorted(base.rglob("*")) if LIBRARY.name not in path.parts and path.is_file())
    lines = (f"{path} {path.lstat().st_mtime_ns}\n" for path in files if path.suffix not in (".log", ".db"))
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def watch(client: Client) -> list[tuple[str, str]]:
    """What the host has touched since this was asked before, if it was."""
    graph = Graph()
    node = graph.add("WanCastProbeTouched")
    return [(event, place) for event, place in client.run(graph).output(node)["touched"]]


def address(random: Random, value: str) -> str:
    """Where the value stands for an id: percent-encoded once or twice, or as it is where it stays in our addresses."""
    raw = value.encode("utf-8", "surrogatepass")
    encoded = quote(raw, safe=random.choice(("", "", "/~:@*")))
    if not normpath(f"{CHARACTERS}/{encoded}").startswith(CHARACTERS):
        encoded = quote(raw, safe="")
    return f"{CHARACTERS}/{quote(encoded) if random.random() < 0.2 else encoded}"[:LONGEST_ADDRESS]


def asked(url: str, random: Random, value: str, made: dict[str, str]) -> list[Answer]:
    """The value where an id stands in an address, and in each field that the user may fill."""
    place, change = address(random, value), json.dumps({"revision": 1}).encode()
    answers = [ask(url, "GET", f"{place}/{part}") for part in ("thumbnail", "export")]
    answers += [ask(url, "DELETE", place), ask(url, "PATCH", place, headers={"Content-Type": JSON}, body=change)]
    consent = {"by": value, "scope": value, "until": value}
    for field, content in {"name": value, "notes": value, "tags": [value], "consent": consent}.items():
        answers.append(edit(url, made["id"], revision=made["revision"], **{field: content}))
        made |= answers[-1].json if answers[-1].status == 200 else {}
    return answers


@pytest.mark.skipif(sys.platform == "win32", reason="a link needs rights there; would prove what the routes touch")
@pytest.mark.timeout(1200)
def test_no_value_leads_a_route_out_of_the_library(
    live_host: HostServer, client: Client, tmp_path: Path, count: Callable[..., int], report: Callable[[str], None]
) -> None:
    secret, url, random, tried = tmp_path / "secret", live_host.url, Random(hostile.SEED), count(5_000, 50)
    secret.write_bytes(write_character(SMALL))
    made = take_in(url, secret.read_bytes()).json
    asked(url, random, "warm", made)
    ask(url, "GET", f"{CHARACTERS}/{made['id']}/thumbnail")
    (live_host.base_dir / LIBRARY / "characters" / f"{hostile.PLANTED}.safetensors").symlink_to(secret)
    before, statuses, slowest_s = tree(live_host.base_dir), Counter(), 0.0
    watch(client)
    for number in range(tried):
        value = hostile.path(random, tmp_path) if number else hostile.PLANTED
        for answer in asked(url, random, value, made):
            assert answer.status < 500, (value, answer)
            assert str(live_host.base_dir).encode() not in answer.content, (value, answer)
            statuses[answer.status] += 1
            slowest_s = max(slowest_s, answer.seconds)
    api.fetch(f"{url}/view?filename=portrait.png&type=input")  # which the watch must see
    touched, library = watch(client), str(live_host.base_dir / LIBRARY)
    assert {event for event, place in touched if place.startswith(library)} >= {"open", "os.rename"}
    outside = [(event, place) for event, place in touched if not place.startswith((library, "/proc/"))]
    assert outside == [("open", str(live_host.base_dir / "input" / "portrait.png"))]
    assert tree(live_host.base_dir) == before and secret.is_file()
    assert slowest_s < ANSWER_LIMIT_S
    assert statuses[200] > tried / 2  # some are good texts
    statuses_words = f"{dict(statuses)} by status, slowest {slowest_s:.2f} s"
    report(f"routes: {8 * tried} requests of hostile values, {statuses_words}, nothing touched outside")
