"""The routes of the page: what they do, whom they answer, and what they say to everybody else."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import socket
from itertools import cycle, product
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from PIL import Image

from devtools.server import HostServer
from tests.host import recipes
from tests.host.live import Client, Graph
from tests.host.page_calls import BYTES, CHARACTERS, JSON, Headers, ask, edit, listed, take_in, unsafe
from tests.unit.identity.some_characters import SMALL
from wan_core.identity.character_file import write_character

NOBODY = "0" * 32
MIB = 2**20


@pytest.fixture
def url(live_host: HostServer) -> str:
    live_host.check_alive()
    return live_host.url


def save(url: str, name: str, **words: Any) -> dict[str, Any]:
    """A character that a workflow saved, as the page lists it."""
    graph = Graph()
    graph.hash(recipes.saved_character(graph, name=name, **words))
    Client(url).run(graph)
    return listed(url)[name]


@pytest.fixture(scope="module")
def ann(live_host: HostServer) -> dict[str, Any]:
    """A character for the tests that change nothing."""
    consent = {"consent_by": "Ann Example", "consent_scope": "this film", "consent_until": "2099-12-31"}
    return save(live_host.url, "Ann", notes="a\nb", tags="hero, \u4e3b\u89d2", **consent)


def tree(base: Path) -> str:
    """A hash of the names, the bytes and the times of all that the host keeps for its users."""
    digest = hashlib.sha256()
    for path in sorted((base / "user").rglob("*")):
        digest.update(f"{path} {path.stat().st_mtime_ns}".encode() + (path.read_bytes() if path.is_file() else b""))
    return digest.hexdigest()


# What they do


def test_the_list_says_of_a_character_what_was_saved(ann: dict[str, Any]) -> None:
    assert {
        "name": "Ann",
        "notes": "a\nb",
        "tags": ["hero", "\u4e3b\u89d2"],
        "consent": {"by": "Ann Example", "scope": "this film", "until": "2099-12-31"},
        "revision": 1,
        "space": recipes.ENCODER,
        "sex": None,
        "age_years": None,
        "references": 1,
        "has_voice": False,
    }.items() <= ann.items()
    assert ann.keys() >= {"created", "bytes"}
    assert ann["reference"].startswith(f"{ann['id']}@")


def test_the_thumbnail_is_the_portrait_in_small(url: str, ann: dict[str, Any]) -> None:
    answer = ask(url, "GET", f"{CHARACTERS}/{ann['id']}/thumbnail")
    assert answer.headers["Content-Type"] == "image/webp"
    with Image.open(io.BytesIO(answer.content)) as image:
        assert (image.format, image.size) == ("WEBP", (256, 256))
        small = image.convert("RGB").resize((8, 8))
    graph = Graph()
    of_graph = Client(url).value(graph, recipes.identity(graph)).arrays["/portrait"]
    portrait = Image.fromarray((of_graph * 255).round().astype("uint8")).resize((8, 8))
    far = [abs(a - b) for a, b in zip(small.tobytes(), portrait.tobytes(), strict=True)]
    assert sum(far) / len(far) < 4  # of 255


def test_an_exported_character_comes_in_as_another_one_with_the_same_content(url: str, ann: dict[str, Any]) -> None:
    content = ask(url, "GET", f"{CHARACTERS}/{ann['id']}/export").content
    copies = [take_in(url, content).json for _ in range(2)]
    assert [copy["name"] for copy in copies] == ["Ann (2)", "Ann (3)"]
    assert len({ann["id"], *(copy["id"] for copy in copies)}) == 3
    for copy in copies:
        same = ("notes", "tags", "consent", "created", "space", "references", "has_voice")
        assert {part: copy[part] for part in same} == {part: ann[part] for part in same}
        assert copy["reference"].split("@")[1] == ann["reference"].split("@")[1]
        assert ask(url, "DELETE", f"{CHARACTERS}/{copy['id']}").json == {}


def test_a_change_is_of_one_revision_and_a_name_belongs_to_one(url: str, ann: dict[str, Any]) -> None:
    made = save(url, uuid4().hex)
    consent = {"by": "", "scope": "all", "until": None}
    changed = edit(url, made["id"], revision=1, name="Bob", notes="n", tags=["x", "y"], consent=consent).json
    told = {"revision": 2, "name": "Bob", "notes": "n", "tags": ["x", "y"], "consent": consent}
    assert changed == made | told | {"bytes": changed["bytes"]}
    assert edit(url, made["id"], revision=2, notes="").json == changed | {
        "revision": 3,
        "notes": "",
        "bytes": listed(url)["Bob"]["bytes"],
    }
    assert edit(url, made["id"], revision=2, notes="late").fault == (409, "revision")
    assert edit(url, made["id"], revision=3, name="ANN").fault == (409, "name")
    assert ask(url, "DELETE", f"{CHARACTERS}/{made['id']}").status == 200
    assert edit(url, made["id"], revision=3).fault == (404, "unknown")
    assert "Bob" not in listed(url)


def test_a_damaged_file_is_listed_as_one_and_can_be_deleted(live_host: HostServer, url: str) -> None:
    damaged = uuid4().hex
    (live_host.base_dir / "user" / "__wancast" / "characters" / f"{damaged}.safetensors").write_bytes(b"no header")
    (fault,) = ask(url, "GET", CHARACTERS).json["faults"]
    assert fault["id"] == damaged and fault["message"].startswith("The file cannot be used: ")
    assert {ask(url, "GET", f"{CHARACTERS}/{damaged}/{part}").fault for part in ("thumbnail", "export")} == {
        (400, "input")
    }
    assert ask(url, "DELETE", f"{CHARACTERS}/{damaged}").json == {}
    assert ask(url, "GET", CHARACTERS).json["faults"] == []


def test_to_read_changes_nothing(live_host: HostServer, url: str, ann: dict[str, Any]) -> None:
    before = tree(live_host.base_dir)
    for method in ("GET", "HEAD"):
        for path in ("", f"/{ann['id']}/thumbnail", f"/{ann['id']}/export", f"/{NOBODY}/export", "/import", "/x"):
            ask(url, method, CHARACTERS + path)
    assert tree(live_host.base_dir) == before


def test_the_host_itself_hands_no_character_out(url: str, ann: dict[str, Any]) -> None:
    folder, file = "__wancast/characters", f"{ann['id']}.safetensors"
    paths = [f"/view?filename={file}&type={kind}&subfolder=../user/{folder}" for kind in ("output", "input", "temp")]
    paths += [f"/userdata/{quote(f'{start}{folder}/{file}', safe='')}" for start in ("", "../", "default/../../")]
    paths += [f"/userdata?dir={start}{folder}&recurse=true&full_info=true" for start in ("", "../")]
    for path in paths:
        answer = ask(url, "GET", path, headers={"comfy-user": "__wancast"})
        assert answer.status >= 400 or ann["id"].encode() not in answer.content, answer


# Whom they answer


def names_of(live_host: HostServer) -> dict[str, bool]:
    """What a browser may call the computer, and whether our page can be meant by it."""
    port = live_host.port
    own = ["localhost", f"LocalHost:{port}", f"localhost.:{port}", "127.0.0.1", f"192.168.1.7:{port}", "127.0.0.1."]
    own += [platform.node().upper(), "[::1]", f"[::1]:{port}", f"[FE80::1]:{port}"]
    foreign = [
        "evil.example",
        f"evil.example:{port}",
        "localhost.evil.example",
        "evillocalhost",
        "127.0.0.1.evil.example",
    ]
    foreign += ["", ":", "localhost:", "localhost:port", "localhost:8188:1", "::1", "[127.0.0.1]", "[::1", "2130706433"]
    foreign += ["localhost\nlocalhost", "localhost@evil.example", "evil.example/localhost", "localhost ..", "0x7f.1"]
    return dict.fromkeys(own, True) | dict.fromkeys(foreign, False)


def test_who_calls_this_computer_by_another_name_is_refused(live_host: HostServer, url: str) -> None:
    found = {}
    for host in names_of(live_host):
        answer = ask(url, "GET", CHARACTERS, headers={"Host": host})
        found[host] = answer.status == 200
        # what is no Host header at all, the host's server refuses before us
        assert found[host] or answer.status == 400 or answer.fault == (403, "host"), (host, answer)
    assert found == names_of(live_host)


@pytest.mark.parametrize("value", [None, "", "0", "true", "1, 1", "1\n1"])
@pytest.mark.parametrize("prefix", ["", "/api"])
def test_without_the_header_of_the_page_nothing_is_answered(url: str, prefix: str, value: str | None) -> None:
    answer = ask(url, "GET", prefix + CHARACTERS, headers={"X-WanCast": value})
    assert answer.fault == (403, "header")
    assert not unsafe([answer, ask(url, "GET", prefix + CHARACTERS)])


REFUSED: list[tuple[str, str, Headers, bytes | None, tuple[int, str]]] = [
    # method, path below the characters, headers, body, status and code
    *(
        (method, path, {"Content-Type": form}, body, (415, "content_type"))
        for method, path, body in (
            ("GET", "", None),
            ("GET", f"/{NOBODY}/export", None),
            ("POST", "/import", b"x"),
            ("PATCH", f"/{NOBODY}", b"{}"),
            ("DELETE", f"/{NOBODY}", None),
        )
        for form in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "Text/Plain; charset=x")
    ),
    ("POST", "/import", {}, b"x", (415, "content_type")),
    ("POST", "/import", {"Content-Type": JSON}, b"{}", (415, "content_type")),
    ("POST", "/import", {"Content-Type": "*/*"}, b"x", (415, "content_type")),
    ("POST", "/import", {"Content-Type": BYTES, "Content-Encoding": "gzip"}, b"x", (415, "content_type")),
    ("POST", "/import", {"Content-Type": BYTES}, b"no character", (400, "input")),
    ("POST", "/import", {"Content-Type": BYTES}, b"", (400, "input")),
    ("PATCH", f"/{NOBODY}", {"Content-Type": BYTES}, b"{}", (415, "content_type")),
    ("PATCH", f"/{NOBODY}", {"Content-Type": f"{JSON}; charset=utf-16"}, b"{}", (415, "content_type")),
    ("PATCH", f"/{NOBODY}", {"Content-Type": f"{JSON}; charset=UTF-8"}, b'{"revision": 1}', (404, "unknown")),
    ("PATCH", f"/{NOBODY}", {"Content-Type": JSON}, bytes(2**18 + 1), (413, "size")),
    ("PATCH", f"/{NOBODY}", {"Content-Type": JSON}, b'{"revision": 1}', (404, "unknown")),
    ("PATCH", f"/{NOBODY}", {"Content-Type": JSON}, b"[" * 100_000, (400, "json")),
    ("PATCH", f"/{NOBODY}", {"Content-Type": JSON}, b'{"revision": 1, "revision": 2}', (400, "json")),
    ("PATCH", f"/{NOBODY}", {"Content-Type": JSON}, b'{"revision": ' + b"9" * 9999 + b"}", (400, "json")),
    ("PATCH", f"/{NOBODY}", {"Content-Type": JSON}, '{"name": "\u00e9"}'.encode("latin-1"), (400, "json")),
    *(
        ("PATCH", f"/{NOBODY}", {"Content-Type": JSON}, json.dumps(said).encode(), (400, code))
        for said, code in (
            ([], "field"),
            ({}, "field"),
            ({"revision": "1"}, "field"),
            ({"revision": True}, "field"),
            ({"revision": 1.0}, "field"),
            ({"revision": 1, "name": None}, "field"),
            ({"revision": 1, "tags": "a"}, "field"),
            ({"revision": 1, "id": "a"}, "field"),
            ({"revision": 1, "consent": {"by": "Ann"}}, "field"),
            ({"revision": 1, "consent": {"by": "Ann", "scope": "", "until": 1}}, "field"),
            ({"revision": 1, "consent": {"by": "Ann", "scope": "", "until": "soon"}}, "input"),
        )
    ),
    ("DELETE", f"/{NOBODY}", {"Content-Type": JSON}, b"{}", (400, "body")),
    ("DELETE", f"/{NOBODY}?force=1", {}, None, (400, "field")),
    ("GET", "?sort=name", {}, None, (400, "field")),
    ("GET", f"/{NOBODY}/thumbnail", {}, None, (404, "unknown")),
    ("GET", f"/{NOBODY}", {}, None, (404, "unknown")),
    ("GET", "/%0A/x", {}, None, (404, "unknown")),
    ("PUT", "", {}, None, (404, "unknown")),
    ("DELETE", f"/{NOBODY.upper()[:-1]}A", {}, None, (400, "input")),
]


@pytest.mark.parametrize(("method", "path", "headers", "body", "fault"), REFUSED)
def test_what_is_no_request_of_the_page_is_refused_by_a_sentence(
    url: str, method: str, path: str, headers: Headers, body: bytes | None, fault: tuple[int, str]
) -> None:
    answer = ask(url, method, CHARACTERS + path, headers=headers, body=body)
    assert answer.fault == fault, answer
    assert not unsafe([answer])
    assert answer.json["error"]["message"].isprintable()


CHANGE = b'{"revision": 0, "name": "A", "notes": "n", "tags": [], "consent": {"by": "", "scope": "", "until": null}}'


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", ""), ("name", "n" * 65), ("name", "\ud800"), ("name", "a\u202eb"), ("notes", "\0"), ("tags", [""])]
    + [("tags", [1]), ("tags", [["a"] * 9]), ("tags", list(map(str, range(33))))]
    + [("consent", {"by": "a\nb", "scope": "", "until": None}), ("revision", 10**30), ("revision", -1)],
)
def test_a_value_of_no_character_changes_nothing(url: str, ann: dict[str, Any], field: str, value: Any) -> None:
    answer = edit(url, ann["id"], **{"revision": 1, field: value})
    assert answer.fault == ((409, "revision") if field == "revision" else (400, "input")), answer
    assert listed(url)["Ann"] == ann


def chunked(pieces: int) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (MIB, bytes(MIB)) for _ in range(pieces)) + b"0\r\n\r\n"


@pytest.mark.parametrize(("body", "fault"), [(chunked(65), (413, "size")), (chunked(1), (400, "input"))])
def test_a_body_is_counted_as_it_comes(url: str, body: bytes, fault: tuple[int, str]) -> None:
    headers: Headers = {"Content-Type": BYTES, "Transfer-Encoding": "chunked"}
    assert ask(url, "POST", f"{CHARACTERS}/import", headers=headers, body=body).fault == fault


def test_a_body_that_breaks_off_is_no_error_of_the_host(live_host: HostServer, url: str) -> None:
    start = live_host.log_path.stat().st_size
    with socket.create_connection(("127.0.0.1", live_host.port), timeout=60) as connection:
        lines = f"POST {CHARACTERS}/import HTTP/1.1", "Host: localhost", "X-WanCast: 1", f"Content-Type: {BYTES}"
        connection.sendall("\r\n".join((*lines, "Content-Length: 99", "", "a part")).encode())
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    assert ask(url, "GET", CHARACTERS).status == 200
    assert b"Traceback" not in live_host.log_path.read_bytes()[start:]


def test_one_may_add_names_of_this_computer(live_host: HostServer, newer_host: HostServer) -> None:
    for host in ("studio.example", "STUDIO.example.:80", "other.example:1"):
        assert ask(newer_host.url, "GET", CHARACTERS, headers={"Host": host}).status == 200
        assert ask(live_host.url, "GET", CHARACTERS, headers={"Host": host}).fault == (403, "host")


# Other sites

TYPES = (None, JSON, BYTES, "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain")
SITES: dict[str, Headers] = {  # what a browser sends on their behalf
    "a file or a sandbox": {"Origin": "null"},
    "another site": {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"},
    "another site in an old browser": {"Origin": "http://evil.example"},
    "another port of this computer": {"Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": "same-site"},
    "a site that took this address": {"Origin": "http://evil.example", "Host": "evil.example"},
    "another site, to the local network": {"Origin": "http://evil.example", "Host": "192.168.1.7"},
    "nobody": {},
}


@pytest.fixture(scope="module", params=["live_host", "newer_host"], ids=["as it is", "--enable-cors-header"])
def attacked(request: pytest.FixtureRequest) -> HostServer:
    return request.getfixturevalue(request.param)


def test_no_other_site_changes_anything(attacked: HostServer) -> None:
    """Each request would be done if it had the header of the page, as the last three show."""
    url, content = attacked.url, write_character(SMALL)
    made = take_in(url, content).json
    change, place = json.dumps({"revision": 1, "notes": "evil"}).encode(), f"{CHARACTERS}/{made['id']}"
    changing = (("POST", f"{CHARACTERS}/import", content), ("PATCH", place, change), ("DELETE", place, None))
    before, done = tree(attacked.base_dir), []
    requests = product(changing, TYPES, SITES.values())
    for ((method, path, body), kind, site), prefix in zip(requests, cycle(("", "/api")), strict=False):
        headers: Headers = {"X-WanCast": None, "Content-Type": kind}
        answer = ask(url, method, prefix + path, headers=headers | site, body=body)
        done += [(method, kind, site, answer.status)] if answer.status != 403 else []
    assert done == []
    assert tree(attacked.base_dir) == before
    for (method, path, body), kind in zip(changing, (BYTES, JSON, None), strict=True):
        assert ask(url, method, path, headers={"Content-Type": kind}, body=body).status == 200
    assert tree(attacked.base_dir) != before


def test_a_browser_is_not_told_that_another_site_may_send_the_header(attacked: HostServer) -> None:
    wish = {"Origin": "http://evil.example", "Access-Control-Request-Method": "DELETE"}
    answer = ask(attacked.url, "OPTIONS", CHARACTERS, headers=wish | {"Access-Control-Request-Headers": "x-wancast"})
    allowed = answer.headers.get("Access-Control-Allow-Headers", "").lower()
    assert "x-wancast" not in allowed and "*" not in allowed
