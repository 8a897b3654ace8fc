"""Characters that stay in RAM: read once, read again when their file is another, let go when asked."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.some_libraries import Library, entry_of, hot, loaded, person, problems, refusal


def rewrite_in_place(path: str) -> None:
    """Writes the same bytes into a file and sets its time back, until the system's own time of it is another."""
    before = os.stat(path)
    while os.stat(path).st_ctime_ns == before.st_ctime_ns:
        Path(path).write_bytes(Path(path).read_bytes())
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_hot_character_is_read_once(kept: Any) -> None:
    warm = hot.HotCharacters(kept)
    saved = kept.save_new("Ann", person())
    size = sum(tensor.nbytes for tensor in saved.tensors().values())
    first = warm.load(saved.reference, input_name="character")
    assert warm.load(saved.card.id, input_name="character") is first
    assert warm.use() == hot.HotUse(hits=1, misses=1, characters=1, bytes=size)


@pytest.mark.parametrize(
    "change",
    [
        lambda kept, character_id: kept.edit(character_id, 1, notes="new"),
        lambda kept, character_id: kept.replace(character_id, 1, person(2)),
        lambda kept, character_id: Library(kept.folder).edit(character_id, 1, notes="new"),  # as another process
        lambda kept, character_id: os.utime(kept.path_of(character_id), ns=(1, 1)),
        lambda kept, character_id: rewrite_in_place(kept.path_of(character_id)),
    ],
)
def test_a_changed_file_is_read_again(kept: Any, change: Callable[[Any, str], object]) -> None:
    warm, saved = hot.HotCharacters(kept), kept.save_new("Ann", person())
    before = warm.load(saved.card.id, input_name="character")
    change(kept, saved.card.id)
    after = warm.load(saved.card.id, input_name="character")
    assert after is not before
    assert after.card == entry_of(kept, saved.card.id).card
    assert (warm.use().hits, warm.use().misses, warm.use().characters) == (0, 2, 1)


def test_a_change_that_one_node_has_seen_counts_for_those_that_are_linked(kept: Any) -> None:
    seen, saved = loaded.LoadedCharacters(hot.HotCharacters(kept)), kept.save_new("Ann", person())
    seen.load(saved.reference)
    before = seen.fingerprint(None)
    assert seen.fingerprint(None) == before
    kept.edit(saved.card.id, 1, notes="new")
    seen.load(saved.reference)
    assert seen.fingerprint(None) != before


@pytest.mark.parametrize("by_this_process", [True, False])
def test_a_deleted_character_is_hot_no_more(kept: Any, by_this_process: bool) -> None:
    warm, saved = hot.HotCharacters(kept), kept.save_new("Ann", person())
    warm.load(saved.card.id, input_name="character")
    (kept if by_this_process else Library(kept.folder)).delete(saved.card.id)
    if not by_this_process:
        refusal(lambda: warm.load(saved.card.id, input_name="character"), problems.UnknownCharacter)
    assert (warm.use().characters, warm.use().bytes) == (0, 0)


def test_one_that_changes_while_it_is_read_is_not_kept(kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    warm, saved, usual = hot.HotCharacters(kept), kept.save_new("Ann", person()), kept.load

    def load_late(reference: str, *, input_name: str) -> Any:
        found = usual(reference, input_name=input_name)
        Library(kept.folder).edit(saved.card.id, 1, notes="new")
        return found

    monkeypatch.setattr(kept, "load", load_late)
    assert warm.load(saved.card.id, input_name="character").card.notes == ""
    assert warm.use().characters == 0


def test_what_was_used_longest_ago_makes_room(kept: Any) -> None:
    saved = [kept.save_new(name, person(seed)) for seed, name in enumerate("ABC")]
    size = sum(tensor.nbytes for tensor in saved[0].tensors().values())
    warm = hot.HotCharacters(kept, 2 * size)
    for index in (0, 1, 0, 2, 0, 1):  # 1 leaves for 2, and 2 for 1
        warm.load(saved[index].card.id, input_name="character")
    assert warm.use() == hot.HotUse(hits=2, misses=4, characters=2, bytes=2 * size)
    small = hot.HotCharacters(kept, size - 1)
    small.load(saved[0].card.id, input_name="character")
    assert small.use() == hot.HotUse(hits=0, misses=1, characters=0, bytes=0)


@pytest.mark.parametrize(
    ("method", "path", "status", "is_emptied"),
    [
        ("POST", "/free", 200, True),
        ("POST", "/api/free", 200, True),
        ("POST", "/free", 500, False),
        ("GET", "/free", 200, False),
        ("POST", "/prompt", 200, False),
    ],
)
def test_the_host_empties_it(kept: Any, method: str, path: str, status: int, is_emptied: bool) -> None:
    warm, saved = hot.HotCharacters(kept), kept.save_new("Ann", person())
    warm.load(saved.card.id, input_name="character")
    request, response = (type("Message", (), said) for said in ({"method": method, "path": path}, {"status": status}))
    assert list(warm.clear_when_freed(request, response).__await__()) == []
    assert (warm.use().characters == 0) == is_emptied
