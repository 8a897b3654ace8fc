"""What becomes of an identity that is saved under a name."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ...wan_core.errors import InputError, quoted
from ...wan_core.identity.character import MOST_NAME_LETTERS, Character, Consent, Voice, checked_line
from ...wan_core.identity.character_file import header_of
from ...wan_core.identity.record import Identity
from .library import NOT_RECORDED, Library
from .library_errors import NameTaken, RevisionConflict, UnknownCharacter

MOST_TRIES = 20


@dataclass(frozen=True, slots=True)
class SaveRequest:
    """A character as the user wants it; what is empty leaves as it was what is saved under the name already."""

    name: str = field(repr=False)
    identity: Identity
    voice: Voice | None
    notes: str = field(repr=False)
    tags: tuple[str, ...] = field(repr=False)
    consent: Consent
    may_replace: bool


@dataclass(frozen=True, slots=True)
class SaveResult:
    """The character that is saved now."""

    character: Character
    fate: str  # what was done, in words
    path: str = field(repr=False)


def save(library: Library, request: SaveRequest) -> SaveResult:
    """Saves a character under a new name, or a change of the one that has the name; writes nothing where all is so.

    Raises InputError, and where the name's character is another one and may not be replaced. Where somebody else saves,
    changes or deletes it in that very moment, it is looked at again.
    """
    for _ in range(MOST_TRIES):
        try:
            return save_at_once(library, request)
        except (NameTaken, RevisionConflict, UnknownCharacter) as error:
            overtaken = error
    found, fix = "a character that others keep changing", "Try again when they are done."
    raise InputError("name", found=found, wanted="one that stays as it is meanwhile", fix=fix) from overtaken


def save_at_once(library: Library, request: SaveRequest) -> SaveResult:
    """As ``save``; raises NameTaken, RevisionConflict or UnknownCharacter where somebody else was faster."""
    name = checked_line(request.name, MOST_NAME_LETTERS, name="name", least=1)
    entry = library.find(name)
    if entry is None:
        words = {"notes": request.notes, "tags": request.tags, "consent": request.consent}
        return result_of(library, library.save_new(name, request.identity, request.voice, **words), "saved")
    old = library.load(entry.card.id, input_name="name")
    wanted = merged(old, request)
    if header_of(wanted) == header_of(old):
        return result_of(library, old, "saved already")
    if not request.may_replace:
        raise InputError(
            "name",
            found=f"{quoted(name)}, under which another identity, voice or text is saved",
            wanted="a new name",
            fix="Choose another name, or set if_exists to replace.",
        )
    card, voice = wanted.card, wanted.voice
    words = {"notes": card.notes, "tags": card.tags, "consent": card.consent}
    new = library.replace(card.id, card.revision, request.identity, voice=voice, **words)
    return result_of(library, new, f"replaced revision {card.revision}")


def merged(old: Character, request: SaveRequest) -> Character:
    """The old character with all that the request says; a consent is one statement, kept or replaced whole."""
    card = old.card
    consent = card.consent if request.consent == NOT_RECORDED else request.consent
    card = replace(card, notes=request.notes or card.notes, tags=request.tags or card.tags, consent=consent)
    return Character(card, request.identity, request.voice or old.voice)


def result_of(library: Library, character: Character, fate: str) -> SaveResult:
    return SaveResult(character, fate, library.path_of(character.card.id))
