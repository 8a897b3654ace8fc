"""Characters that were used of late, in RAM: the next clip reads none of their files again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from ...wan_core.errors import InputError
from ...wan_core.identity.character import Character
from .library import Library, id_in
from .private_files import FileState

BUDGET_BYTES = 256 * 2**20  # some 40 characters with a voice
FREE_PATHS = ("/free", "/api/free")  # where the host is asked to free its memory


@dataclass(frozen=True, slots=True)
class HotUse:
    """How often a character was found in RAM, and what is there now."""

    hits: int
    misses: int
    characters: int
    bytes: int


@dataclass(frozen=True, slots=True)
class HotCharacter:
    """A character as its file was when it was read."""

    state: FileState
    character: Character
    size_bytes: int


class HotCharacters:
    """The characters of a library that were loaded last, up to so many bytes; safe between threads.

    A file that was changed, by whomever, is read again.
    """

    def __init__(self, library: Library, budget_bytes: int = BUDGET_BYTES) -> None:
        self._library = library
        self._budget_bytes = budget_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, HotCharacter] = OrderedDict()  # by id, the last used at the end
        self._bytes = self._hits = self._misses = 0
        library.watch(self.forget)

    def state(self, reference: str, *, input_name: str) -> FileState:
        """As ``Library.state``."""
        return self._library.state(reference, input_name=input_name)

    def load(self, reference: str, *, input_name: str) -> Character:
        """As ``Library.load``."""
        character_id = id_in(reference, input_name=input_name)
        try:
            state = self.state(reference, input_name=input_name)
            kept = self._found(character_id, state)
            if kept is not None:
                return kept
            character = self._library.load(reference, input_name=input_name)
            self._keep(character_id, state, character)
            if self.state(reference, input_name=input_name) != state:  # changed or deleted meanwhile
                self.forget(character_id)
        except InputError:
            self.forget(character_id)
            raise
        return character

    def use(self) -> HotUse:
        """What a report says."""
        with self._lock:
            return HotUse(self._hits, self._misses, len(self._kept), self._bytes)

    def forget(self, character_id: str) -> None:
        """Drops a character."""
        with self._lock:
            self._drop(character_id)

    def clear(self) -> None:
        """Drops all characters; what was counted stays."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    async def clear_when_freed(self, request: Any, response: Any) -> None:
        """Drops all characters when the host answers that it frees its memory: for ``on_response_prepare``."""
        if request.method == "POST" and request.path in FREE_PATHS and response.status == 200:
            self.clear()

    def _found(self, character_id: str, state: FileState) -> Character | None:
        """The character in RAM, if its file is as it was; counts whether it is."""
        with self._lock:
            kept = self._kept.get(character_id)
            if kept is None or kept.state != state:
                self._misses += 1
                return None
            self._hits += 1
            self._kept.move_to_end(character_id)
            return kept.character

    def _keep(self, character_id: str, state: FileState, character: Character) -> None:
        """Keeps a character in place of those that were used longest ago; one over the budget is not kept."""
        size_bytes = sum(tensor.nbytes for tensor in character.tensors().values())
        with self._lock:
            self._drop(character_id)
            if size_bytes > self._budget_bytes:
                return
            self._kept[character_id] = HotCharacter(state, character, size_bytes)
            self._bytes += size_bytes
            while self._bytes > self._budget_bytes:
                self._drop(next(iter(self._kept)))

    def _drop(self, character_id: str) -> None:
        kept = self._kept.pop(character_id, None)
        self._bytes -= kept.size_bytes if kept else 0
