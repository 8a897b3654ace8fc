"""What the page asks of the character library, over the host's own server."""

from __future__ import annotations

import io
import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from server import PromptServer

from ...wan_core.errors import InputError, UserError, quoted
from ...wan_core.identity.character import Consent, checked_day
from ...wan_core.identity.character_file import MOST_FILE_BYTES
from ...wan_core.safetensors_header import without_doubles
from .frames import picture
from .gate import BodyType, Gate, RefusedError
from .hot_characters import HotCharacters
from .library import Entry, Library
from .library_errors import NameTaken, RevisionConflict, UnknownCharacter

PREFIX = "/wancast"
THUMBNAIL_PX = 256  # its longer side
JSON_BODY = BodyType("application/json", 2**18)
FILE_BODY = BodyType("application/octet-stream", MOST_FILE_BYTES)
STATUSES: dict[type[UserError], tuple[int, str]] = {
    UnknownCharacter: (404, "unknown"),
    RevisionConflict: (409, "revision"),
    NameTaken: (409, "name"),
    InputError: (400, "input"),
}
CHANGES = {"revision": int, "name": str, "notes": str, "tags": list, "consent": dict}  # the fields and their kinds
CONSENT = {"by": str, "scope": str, "until": (str, type(None))}


@dataclass(frozen=True, slots=True)
class CharacterCall:
    """What the page sends to a route."""

    character_id: str  # as it stands in the address; empty where none does
    content: bytes  # the body


Answer = Callable[[Library, CharacterCall], web.Response]


def serve(library: Library, hot: HotCharacters) -> None:
    """Adds the routes to the host's server, which takes them until all packs are loaded.

    The hot characters go when the host is asked to free memory: what it calls for that it calls of its own models and
    results alone, so its answer is what tells.
    """
    server, gate = PromptServer.instance, Gate.of_this_computer()
    for method, path, answer, body in ROUTES:
        handler = gate.guard(in_thread(answer, library, server.loop), body, STATUSES)
        server.routes.route(method, PREFIX + path)(handler)
    server.app.on_response_prepare.append(hot.clear_when_freed)


def in_thread(answer: Answer, library: Library, loop: Any) -> Callable[[web.Request, bytes], Awaitable[web.Response]]:
    """The answer from a thread beside the host's ``loop``, which must not wait for a disk."""

    async def run(request: web.Request, content: bytes) -> web.Response:
        call = CharacterCall(request.match_info.get("id", ""), content)
        return await loop.run_in_executor(None, answer, library, call)

    return run


# Answers


def list_characters(library: Library, _: CharacterCall) -> web.Response:
    listing = library.entries()
    faults = [{"id": fault.id, "message": fault.message} for fault in listing.faults]
    return web.json_response({"characters": list(map(entry_json, listing.entries)), "faults": faults})


def draw_thumbnail(library: Library, call: CharacterCall) -> web.Response:
    """The portrait, or the first aligned face where there is none, small and drawn anew."""
    identity = library.load(call.character_id, input_name="character").identity
    image, content = picture(identity.crops[0] if identity.portrait is None else identity.portrait), io.BytesIO()
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    image.save(content, "WEBP")
    return web.Response(body=content.getvalue(), content_type="image/webp")


def export_character(library: Library, call: CharacterCall) -> web.Response:
    return web.Response(body=library.export(call.character_id), content_type="application/octet-stream")


def import_character(library: Library, call: CharacterCall) -> web.Response:
    return web.json_response(entry_json(library.import_file(call.content)))


def edit_character(library: Library, call: CharacterCall) -> web.Response:
    said = json_fields(call.content, CHANGES, needed=("revision",))
    entry = library.edit(
        call.character_id,
        said["revision"],
        name=said.get("name"),
        notes=said.get("notes"),
        tags=tuple(said["tags"]) if "tags" in said else None,
        consent=consent_of(said["consent"]) if "consent" in said else None,
    )
    return web.json_response(entry_json(entry))


def delete_character(library: Library, call: CharacterCall) -> web.Response:
    library.delete(call.character_id)
    return web.json_response({})


def refuse_address(_: Library, call: CharacterCall) -> web.Response:
    raise RefusedError(404, "unknown", "WanCast has nothing at this address that is asked in this way.")


ROUTES: tuple[tuple[str, str, Answer, BodyType | None], ...] = (
    ("GET", "/characters", list_characters, None),
    ("GET", "/characters/{id}/thumbnail", draw_thumbnail, None),
    ("GET", "/characters/{id}/export", export_character, None),
    ("POST", "/characters/import", import_character, FILE_BODY),
    ("PATCH", "/characters/{id}", edit_character, JSON_BODY),
    ("DELETE", "/characters/{id}", delete_character, None),
    ("*", "/{rest:(?s:.*)}", refuse_address, None),  # line ends too: none falls through to the host's own files
)


# JSON


def entry_json(entry: Entry) -> dict[str, Any]:
    """A character as the page lists it."""
    card, consent = entry.card, entry.card.consent
    return {
        "id": card.id,
        "reference": entry.reference,
        "name": card.name,
        "notes": card.notes,
        "tags": card.tags,
        "consent": {"by": consent.by, "scope": consent.scope, "until": consent.until and consent.until.isoformat()},
        "created": card.created.isoformat(),
        "revision": card.revision,
        "space": entry.space,
        "sex": entry.sex,
        "age_years": entry.age_years,
        "references": entry.reference_count,
        "has_voice": entry.has_voice,
        "bytes": entry.bytes,
    }


def json_fields(content: bytes, fields: Mapping[str, Any], *, needed: Collection[str]) -> dict[str, Any]:
    """The fields in a JSON text; raises RefusedError for another text, unknown fields, other kinds and missing ones."""
    try:
        said = json.loads(content.decode("utf-8"), object_pairs_hook=without_doubles)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "json", "The body is no JSON text in UTF-8, or names a field twice.") from error
    return checked_fields(said, fields, needed=needed)


def checked_fields(said: object, fields: Mapping[str, Any], *, needed: Collection[str]) -> dict[str, Any]:
    """The fields of an object; raises RefusedError for an unknown one, one of another kind, and a missing one."""
    if not isinstance(said, dict):
        raise RefusedError(400, "field", f"Wanted an object; found {quoted(said)}.")
    for name, value in said.items():
        if name not in fields:
            raise RefusedError(400, "field", f"There is no field {quoted(name)} here.")
        if not isinstance(value, fields[name]) or isinstance(value, bool):
            raise RefusedError(400, "field", f"The field {quoted(name)} cannot be {quoted(value)}.")
    if missing := sorted(set(needed) - said.keys()):
        raise RefusedError(400, "field", f"The field {quoted(missing[0])} is missing.")
    return said


def consent_of(said: object) -> Consent:
    """The consent that a change records in place of the one before."""
    given = checked_fields(said, CONSENT, needed=CONSENT)
    return Consent(given["by"], given["scope"], checked_day(given["until"] or "", name="consent_until"))
