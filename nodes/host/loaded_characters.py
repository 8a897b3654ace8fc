"""The characters that nodes loaded, and whether their files are still as they were."""

from __future__ import annotations

from ...wan_core.errors import InputError
from ...wan_core.identity.character import Character
from .hot_characters import HotCharacters

INPUT = "character"


class LoadedCharacters:
    """Notices when a character that a node loaded has changed or gone, so that the host lets the node run again.

    What comes through a link the host tells a node only when it runs it. So all that came is remembered, and one
    change counts for every node that is linked.
    """

    def __init__(self, hot: HotCharacters) -> None:
        self.hot = hot
        self._states: dict[str, str] = {}  # by reference, as the files were last seen
        self._changes = 0

    def load(self, reference: str) -> Character:
        """As ``HotCharacters.load``."""
        state = self._state(reference)
        character = self.hot.load(reference, input_name=INPUT)
        self._changes += self._states.get(reference, state) != state
        self._states[reference] = state  # of before, so that a change meanwhile is noticed
        return character

    def fingerprint(self, reference: str | None) -> str:
        """What changes with the file of a character; None: with that of any that a node loaded."""
        if reference is not None:
            return self._state(reference)
        states = {known: self._state(known) for known in list(self._states)}
        self._changes += states != self._states
        self._states |= states
        return f"{self._changes} changes"

    def _state(self, reference: str) -> str:
        try:
            return repr(self.hot.state(reference, input_name=INPUT))
        except InputError as error:
            return error.text
