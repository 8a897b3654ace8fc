"""The library: one file a character in a folder of its own, shared by every thread and process of this computer.

Who changes something holds the lock of the folder; who reads needs none, as files are replaced at once. A change of a
character states the revision that it is of, and one that came too late is refused.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from itertools import count

from filelock import FileLock

from ...wan_core.errors import InputError, quoted
from ...wan_core.identity.appearance import Appearance
from ...wan_core.identity.character import MOST_NAME_LETTERS, Card, Character, Consent, Voice, name_key, require_id
from ...wan_core.identity.character_file import (
    FORMAT_VERSION,
    MOST_FILE_BYTES,
    CharacterHeader,
    format_version,
    header_length,
    header_of,
    read_character,
    read_header,
    version_of,
    write_character,
)
from ...wan_core.identity.character_json import CharacterFileError
from ...wan_core.identity.record import Identity
from ...wan_core.media.files import sync_folder
from ...wan_core.safetensors_header import LENGTH_BYTES
from .library_errors import NameTaken, RevisionConflict, errors_in_words, reason, unknown_character
from .private_files import (
    OWNER_ONLY,
    FileState,
    make_private_folder,
    opened,
    remove_file,
    replace_file,
    require_no_link,
)

ENDING = ".safetensors"
UNFINISHED = ".saving"  # behind the ending, until the file is whole
FILE = re.compile(r"([0-9a-f]{32})\.safetensors")
LEFT_OVER = re.compile(r"[0-9a-f]{32}\.(?:safetensors|v[0-9]+\.backup)\.saving")
REFERENCE = re.compile(r"([0-9a-f]{32})(?:@[0-9a-f]{12})?")
LOCK_NAME = "library.lock"
LOCK_WAIT_S = 30.0
LOCK_POLL_S = 0.01
NOT_RECORDED = Consent()


@dataclass(frozen=True, slots=True)
class Entry:
    """A character in a list."""

    card: Card
    reference: str  # what a workflow holds
    space: str | None  # the recogniser's file; None: without vectors
    sex: str | None = field(repr=False)  # what most references say
    age_years: int | None = field(repr=False)  # the lower median of theirs
    reference_count: int
    has_voice: bool
    bytes: int  # of the file


@dataclass(frozen=True, slots=True)
class Fault:
    """A file in the library that cannot be used."""

    id: str
    message: str


@dataclass(frozen=True, slots=True)
class Listing:
    """All that is in the library."""

    entries: tuple[Entry, ...]  # by name
    faults: tuple[Fault, ...]


def id_in(reference: object, *, input_name: str) -> str:
    """The id in what a workflow holds; raises InputError for anything else, which never comes near a path."""
    found = REFERENCE.fullmatch(reference) if isinstance(reference, str) else None
    if found is None:
        wanted = "a character of the library"
        raise InputError(input_name, found=quoted(reference), wanted=wanted, fix="Pick one in the node.")
    return found[1]


class Library:
    """The characters in one folder, which is made when the first is saved."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._watchers: list[Callable[[str], None]] = []

    def watch(self, on_change: Callable[[str], None]) -> None:
        """Adds what is told the id of each character that was changed or deleted through this library."""
        self._watchers.append(on_change)

    # Reading

    def entries(self, *, input_name: str = "character") -> Listing:
        """All characters by name, and what cannot be used; raises InputError where the folder cannot be read."""
        with errors_in_words(input_name):
            listed = [self._listed(character_id) for character_id in self._ids()]
        entries = sorted((one for one in listed if isinstance(one, Entry)), key=lambda entry: name_key(entry.card.name))
        return Listing(tuple(entries), tuple(one for one in listed if isinstance(one, Fault)))

    def find(self, name: str) -> Entry | None:
        """The character that has this name, as people compare names; raises InputError."""
        listing = self.entries(input_name="name")
        return next((one for one in listing.entries if name_key(one.card.name) == name_key(name)), None)

    def load(self, reference: str, *, input_name: str) -> Character:
        """The character that a workflow holds a reference to, as it is now; raises InputError."""
        character_id = id_in(reference, input_name=input_name)
        with errors_in_words(input_name):
            return read_character(self._content(character_id), character_id)

    def state(self, reference: str, *, input_name: str) -> FileState:
        """What changes when the character does; raises InputError."""
        with errors_in_words(input_name), opened(self.path_of(id_in(reference, input_name=input_name))) as (_, state):
            return state

    def export(self, character_id: str) -> bytes:
        """The bytes of a character's file, which is whole; raises InputError."""
        with errors_in_words("character"):
            content = self._content(character_id)
            read_character(content, character_id)
            return content

    # Changing

    def save_new(
        self,
        name: str,
        identity: Identity,
        voice: Voice | None = None,
        *,
        notes: str = "",
        tags: tuple[str, ...] = (),
        consent: Consent = NOT_RECORDED,
    ) -> Character:
        """Saves a new character; raises NameTaken, or InputError where nothing was saved."""
        now = datetime.now(timezone.utc).replace(microsecond=0)
        card = Card(uuid.uuid4().hex, name, notes, tags, consent, now, revision=1)
        character = Character(card, identity, voice)
        with self._changing("name"):
            self._require_free(card.name, character_id=card.id)
            self._write(character)
        return character

    def replace(
        self,
        character_id: str,
        revision: int,
        identity: Identity,
        *,
        voice: Voice | None = None,
        notes: str | None = None,
        tags: tuple[str, ...] | None = None,
        consent: Consent | None = None,
    ) -> Character:
        """Gives a character another identity; None leaves as it was. Raises RevisionConflict or InputError."""
        self._require_known(character_id)
        with self._changing("name"):
            old, content = self._current(character_id, revision)
            card = _changed(old.card, notes=notes, tags=tags, consent=consent)
            character = Character(card, identity, old.voice if voice is None else voice)
            self._write(character, in_place_of=content)
        return character

    def edit(
        self,
        character_id: str,
        revision: int,
        *,
        name: str | None = None,
        notes: str | None = None,
        tags: tuple[str, ...] | None = None,
        consent: Consent | None = None,
    ) -> Entry:
        """Changes what a person reads; None leaves as it was. Raises RevisionConflict, NameTaken or InputError."""
        self._require_known(character_id)
        with self._changing("character"):
            old, content = self._current(character_id, revision)
            card = _changed(old.card, name=name, notes=notes, tags=tags, consent=consent)
            if name is not None:
                self._require_free(card.name, character_id=character_id)
            self._write(replace(old, card=card), in_place_of=content)
            return self._entry(character_id)

    def delete(self, character_id: str) -> None:
        """Removes a character, also a damaged one, and every file beside it; raises InputError."""
        self._require_known(character_id)
        with self._changing("character"):
            path = self.path_of(character_id)
            if os.path.isdir(path) and not os.path.islink(path):
                found = "a folder in place of the character's file"
                fix = f"Remove the folder {character_id}{ENDING} from the library by hand."
                raise InputError("character", found=found, wanted="a file", fix=fix)
            beside = [backup_path(path, version) for version in range(FORMAT_VERSION)]
            for one in (*beside, path):
                remove_file(one)
            sync_folder(self.folder)
        self._tell(character_id)

    def import_file(self, content: bytes) -> Entry:
        """Takes in an exported character under a new id, and with a number behind a name that is taken."""
        with errors_in_words("file", advice="Choose a file that was exported."):
            character = read_character(content, uuid.uuid4().hex)
        with self._changing("file"):
            names = {name_key(entry.card.name) for entry in self.entries().entries}
            name = next(name for name in _numbered(character.card.name) if name_key(name) not in names)
            card = replace(character.card, name=name, revision=1)
            self._write(replace(character, card=card))
            return self._entry(card.id)

    # Parts

    def _ids(self) -> list[str]:
        """The ids of all files; none where there is no folder yet."""
        require_no_link(self.folder)
        try:
            names = sorted(os.listdir(self.folder))
        except FileNotFoundError:
            return []
        return [found[1] for found in map(FILE.fullmatch, names) if found]

    def path_of(self, character_id: str) -> str:
        """The path of an id's file; raises InputError for no id, OSError where a link would lead elsewhere."""
        require_id(character_id)
        require_no_link(self.folder)
        return os.path.join(self.folder, character_id + ENDING)

    def _listed(self, character_id: str) -> Entry | Fault | None:
        """What a list shows of an id; None where it was deleted meanwhile."""
        try:
            return self._entry(character_id)
        except FileNotFoundError:
            return None
        except (CharacterFileError, OSError) as error:
            return Fault(character_id, f"The file cannot be used: {reason(error)}.")

    def _entry(self, character_id: str) -> Entry:
        """Reads no further than the header, but for version 0; raises CharacterFileError or OSError."""
        with opened(self.path_of(character_id)) as (file, state):
            length_field = file.read(LENGTH_BYTES)
            header = file.read(header_length(length_field, state.size_bytes))
            if format_version(header, state.size_bytes) == FORMAT_VERSION:
                return _entry_of(read_header(header, character_id), state)
            content = length_field + header + file.read(MOST_FILE_BYTES)
            return _entry_of(header_of(read_character(content, character_id)), state)

    def _content(self, character_id: str) -> bytes:
        with opened(self.path_of(character_id)) as (file, _):
            return file.read(MOST_FILE_BYTES + 1)

    def _current(self, character_id: str, revision: int) -> tuple[Character, bytes]:
        """The character to change, and the bytes of its file; raises RevisionConflict for another revision."""
        content = self._content(character_id)
        character = read_character(content, character_id)
        if character.card.revision != revision:
            raise RevisionConflict(
                "revision",
                found=f"a change of revision {quoted(revision)}",
                wanted=f"one of revision {character.card.revision}",
                fix="Look at the character again: somebody changed it meanwhile.",
            )
        return character, content

    def _require_known(self, character_id: str) -> None:
        """Raises UnknownCharacter before anything is made for one that is not there."""
        with errors_in_words("character"):
            if not os.path.lexists(self.path_of(character_id)):
                raise unknown_character("character")

    def _require_free(self, name: str, *, character_id: str) -> None:
        """Raises NameTaken where another character has the name."""
        taken = self.find(name)
        if taken is not None and taken.card.id != character_id:
            found = f"{quoted(name)}, which another character has"
            raise NameTaken("name", found=found, wanted="a name of its own", fix="Choose another name.")

    def _write(self, character: Character, *, in_place_of: bytes | None = None) -> None:
        """Writes a character's file, after a backup where it takes the place of one of an earlier version."""
        try:
            content = write_character(character)
        except CharacterFileError as error:
            found = f"a character that cannot be saved ({error})"
            fix = "Make the identity with IdentityEncode, and give a short voice."
            raise InputError("identity", found=found, wanted="one that can be read again", fix=fix) from error
        path = self.path_of(character.card.id)
        if in_place_of is not None and (version := version_of(in_place_of)) < FORMAT_VERSION:
            backup = backup_path(path, version)
            replace_file(backup, in_place_of, unfinished=backup + UNFINISHED)
        replace_file(path, content, unfinished=path + UNFINISHED)
        self._tell(character.card.id)

    def _tell(self, character_id: str) -> None:
        for on_change in self._watchers:
            on_change(character_id)

    @contextmanager
    def _changing(self, input_name: str) -> Iterator[None]:
        """While the block runs, no other thread or process changes the library; raises InputError."""
        with errors_in_words(input_name):
            make_private_folder(self.folder)
            lock = FileLock(os.path.join(self.folder, LOCK_NAME), timeout=LOCK_WAIT_S, mode=OWNER_ONLY)
            with lock.acquire(poll_interval=LOCK_POLL_S):
                for name in filter(LEFT_OVER.fullmatch, os.listdir(self.folder)):  # of a process that was killed
                    remove_file(os.path.join(self.folder, name))
                yield


def backup_path(path: str, version: int) -> str:
    """Where the file of an earlier version is kept beside the one that was made of it."""
    return f"{path.removesuffix(ENDING)}.v{version}.backup"


def _entry_of(header: CharacterHeader, state: FileState) -> Entry:
    appearance = Appearance.of(header.attributes)
    return Entry(
        card=header.card,
        reference=header.reference,
        space=header.space.name if header.space else None,
        sex=appearance.sex,
        age_years=appearance.age_years,
        reference_count=len(header.attributes),
        has_voice=header.voice_rate_hz is not None,
        bytes=state.size_bytes,
    )


def _changed(card: Card, **changes: object) -> Card:
    """The next revision of a card, with the changes that are something."""
    return replace(card, revision=card.revision + 1, **{k: v for k, v in changes.items() if v is not None})


def _numbered(name: str) -> Iterator[str]:
    """The name, and then with numbers behind it, as long as a name may be."""
    yield name
    for number in count(2):
        ending = f" ({number})"
        yield name[: MOST_NAME_LETTERS - len(ending)].rstrip() + ending
