"""Requests to the routes of the pack, down to the header: as the page sends them, and as nobody should."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

JSON, BYTES = "application/json", "application/octet-stream"
CHARACTERS = "/wancast/characters"
TIMEOUT_S = 60.0
SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, no-store",
    "Content-Security-Policy": "default-src 'none'",
}

Headers = dict[str, str | None]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the host answered."""

    status: int
    headers: dict[str, str]
    content: bytes
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def fault(self) -> tuple[int, str]:
        """The status, and the code of the error."""
        assert set(self.json) == {"error"} and set(self.json["error"]) == {"code", "message"}
        return self.status, self.json["error"]["code"]


def ask(url: str, method: str, path: str, *, headers: Headers | None = None, body: bytes | None = None) -> Answer:
    """One request with the header of the page and the host's address, unless ``headers`` says otherwise; None: without.

    The path is sent as it is.
    """
    every = {"Host": urlsplit(url).netloc, "X-WanCast": "1"} | (headers or {})
    every |= {} if body is None or "Transfer-Encoding" in every else {"Content-Length": str(len(body))}
    start_s = time.monotonic()
    with closing(HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT_S)) as connection:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in every.items():
            for one in [] if value is None else value.split("\n"):  # a header that is there twice
                connection.putheader(name, one)
        connection.endheaders(body)
        response = connection.getresponse()
        content = response.read()
        return Answer(response.status, dict(response.headers), content, time.monotonic() - start_s)


def listed(url: str) -> dict[str, dict[str, Any]]:
    """The characters that the page is told of, by name."""
    return {entry["name"]: entry for entry in ask(url, "GET", CHARACTERS).json["characters"]}


def edit(url: str, character_id: str, **changes: Any) -> Answer:
    """What the page sends when the user has changed a card."""
    return ask(
        url,
        "PATCH",
        f"{CHARACTERS}/{character_id}",
        headers={"Content-Type": JSON},
        body=json.dumps(changes).encode(),
    )


def take_in(url: str, content: bytes) -> Answer:
    """What the page sends when the user imports a file."""
    return ask(url, "POST", f"{CHARACTERS}/import", headers={"Content-Type": BYTES}, body=content)


def unsafe(answers: Iterable[Answer]) -> list[Answer]:
    """The answers that lack one of the headers that every answer has."""
    return [answer for answer in answers if not SAFE_HEADERS.items() <= answer.headers.items()]
