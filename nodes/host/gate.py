"""Who may use the routes of the pack: its own page, in a browser that speaks to this computer by a name of its own.

The host has no log-in, and any page that a browser shows can send it requests. Another site's cannot add a header of
its own unless the host answers that it may, which the host never does, not even with --enable-cors-header; and a site
that gives itself this computer's address (DNS rebinding) still sends its own name as the host.
"""

from __future__ import annotations

import ipaddress
import os
import platform
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import hdrs, web

from ...wan_core.errors import UserError, printable, quoted

HEADER, HEADER_VALUE = "X-WanCast", "1"
ALLOWED_HOSTS = "WANCAST_ALLOWED_HOSTS"  # an environment variable: more names of this computer, between commas
HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\s:@/,\[\]]+))(?::[0-9]{1,5})?")
FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")  # what any site may send
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, no-store",
    "Content-Security-Policy": "default-src 'none'",
}


class RefusedError(Exception):
    """A request that gets no answer: an HTTP status, a word for programs and a sentence for the user."""

    def __init__(self, status: int, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code
        self.sentence = printable(sentence)

    def response(self) -> web.Response:
        return web.json_response({"error": {"code": self.code, "message": self.sentence}}, status=self.status)


@dataclass(frozen=True, slots=True)
class BodyType:
    """What a route takes as its body."""

    content_type: str
    most_bytes: int


@dataclass(frozen=True, slots=True)
class Gate:
    """Lets a request of our own page through to its answer, and refuses every other one."""

    names: frozenset[str]  # of this computer, in lower case

    @classmethod
    def of_this_computer(cls) -> Gate:
        """Its own name, localhost, and what the environment adds."""
        added = os.environ.get(ALLOWED_HOSTS, "").split(",")
        names = (name.strip().lower().removesuffix(".") for name in ("localhost", platform.node(), *added))
        return cls(frozenset(filter(None, names)))

    def guard(
        self,
        answer: Callable[[web.Request, bytes], Awaitable[web.Response]],
        body: BodyType | None,
        errors: Mapping[type[UserError], tuple[int, str]],
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        """The handler of a route; ``errors`` gives the status and the code of what the user can put right."""

        async def handle(request: web.Request) -> web.Response:
            try:
                self.require_own_page(request)
                response = await answer(request, await read_body(request, body))
            except RefusedError as refusal:
                response = refusal.response()
            except UserError as error:
                status, code = next(errors[kind] for kind in type(error).__mro__ if kind in errors)
                response = RefusedError(status, code, str(error)).response()
            response.headers.update(SECURITY_HEADERS)
            return response

        return handle

    def require_own_page(self, request: web.Request) -> None:
        """Raises RefusedError unless the request has our header, a host name of this computer, and nothing beside."""
        if request.headers.getall(HEADER, []) != [HEADER_VALUE]:
            raise RefusedError(
                403, "header", f"Only the page of WanCast may ask this; it sends {HEADER}: {HEADER_VALUE}."
            )
        hosts = request.headers.getall(hdrs.HOST, [])
        if len(hosts) != 1 or not self.is_own_host(hosts[0]):
            called = quoted(hosts[0]) if hosts else "nothing"
            raise RefusedError(
                403,
                "host",
                f"The address in the browser calls this computer {called}, which is not its name. Use its IP address, "
                f"or list the name in the environment variable {ALLOWED_HOSTS} before ComfyUI starts.",
            )
        if hdrs.CONTENT_TYPE in request.headers and request.content_type in FORM_TYPES:
            raise RefusedError(415, "content_type", f"A form is not taken here: found {quoted(request.content_type)}.")
        if request.query_string:
            raise RefusedError(400, "field", f"Nothing is asked by a query here: found {quoted(request.query_string)}.")

    def is_own_host(self, host: str) -> bool:
        """Whether a Host header means this computer: one of its names or an IP address, with or without a port."""
        found = HOST.fullmatch(host)
        if not found:
            return False
        if found["v6"]:
            return is_address(found["v6"], version=6)
        name = found["name"].lower().removesuffix(".")
        return name in self.names or is_address(name, version=4)


def is_address(text: str, *, version: int) -> bool:
    """Whether it is an IP address as it is written out."""
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False


async def read_body(request: web.Request, body: BodyType | None) -> bytes:
    """The body, counted as it comes; raises RefusedError when it is not what the route takes."""
    if body is None:
        if request.body_exists:
            raise RefusedError(400, "body", "Nothing is sent along here, and this request has a body.")
        return b""
    if hdrs.CONTENT_TYPE not in request.headers or request.content_type != body.content_type:
        found = quoted(request.headers.get(hdrs.CONTENT_TYPE))
        raise RefusedError(415, "content_type", f"The body is of type {found}; wanted {body.content_type}.")
    if (request.charset or "utf-8").lower() != "utf-8":
        raise RefusedError(415, "content_type", f"The body is in {quoted(request.charset)}; wanted UTF-8.")
    if hdrs.CONTENT_ENCODING in request.headers:
        raise RefusedError(415, "content_type", "The body is compressed; send it as it is.")
    content = bytearray()
    try:
        async for piece in request.content.iter_any():
            content += piece
            if len(content) > body.most_bytes:
                raise RefusedError(413, "size", f"The body has more than {body.most_bytes} bytes.")
    except (ConnectionError, web.RequestPayloadError) as error:  # else a traceback in the log
        raise RefusedError(400, "body", "The body breaks off.") from error
    return bytes(content)
