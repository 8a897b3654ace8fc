"""The library of characters, without a host: its folder, its names and revisions, its faults, what is hot."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from tests.unit.identity.some_characters import ID, file_v0, tensors_v0
from tests.unit.some_libraries import (
    CONSENT,
    VOICE,
    Library,
    character_files,
    characters,
    entry_of,
    errors,
    library,
    names_in,
    person,
    place,
    posix,
    problems,
    refusal,
    saving,
)

# What is kept


def test_a_character_is_saved_listed_and_loaded(kept: Any) -> None:
    assert kept.entries() == library.Listing((), ())
    assert not Path(kept.folder).exists()  # looking makes nothing
    saved = kept.save_new("Zoe", person(), VOICE, notes="tall", tags=("hero",), consent=CONSENT)
    other = kept.save_new("\u5b89", person(2))
    card = saved.card
    assert (card.name, card.notes, card.tags, card.consent, card.revision) == ("Zoe", "tall", ("hero",), CONSENT, 1)
    first, second = kept.entries().entries
    size = os.path.getsize(Path(kept.folder, f"{card.id}.safetensors"))
    about = ("encoder.safetensors", "female", 30, 1, True, size)
    assert first == library.Entry(card, saved.reference, *about) == entry_of(kept, card.id) == kept.find(" zOE".strip())
    assert (second.card, second.has_voice) == (other.card, False)
    for reference in (saved.reference, card.id, f"{card.id}@{'0' * 12}"):  # a pin is for the node to compare
        found = kept.load(reference, input_name="character")
        assert (found.card, found.reference) == (card, saved.reference)
        assert all(torch.equal(tensor, found.tensors()[name]) for name, tensor in saved.tensors().items())


@posix
def test_nobody_else_may_read_it(kept: Any) -> None:
    character = kept.save_new("Ann", person())
    kept.edit(character.card.id, 1, notes="x")
    modes = {name: stat.S_IMODE(os.stat(Path(kept.folder, name)).st_mode) for name in os.listdir(kept.folder)}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(os.stat(kept.folder).st_mode) == 0o700
    os.chmod(kept.folder, 0o777)
    kept.edit(character.card.id, 2, notes="y")
    assert stat.S_IMODE(os.stat(kept.folder).st_mode) == 0o700


def test_a_change_leaves_the_rest_as_it_was(kept: Any) -> None:
    saved = kept.save_new("Ann", person(), VOICE, notes="tall", tags=("a",), consent=CONSENT)
    edited = kept.edit(saved.card.id, 1, name="Bea", notes="")
    assert edited.card == replace(saved.card, name="Bea", notes="", revision=2)
    assert edited.reference == saved.reference
    assert kept.edit(saved.card.id, 2, tags=(), consent=characters.Consent()).card == replace(
        edited.card, tags=(), consent=characters.Consent(), revision=3
    )
    replaced = kept.replace(saved.card.id, 3, person(2))
    assert (replaced.card.name, replaced.card.revision, replaced.voice.transcript) == ("Bea", 4, "Hello.")
    assert replaced.reference != saved.reference
    assert entry_of(kept, saved.card.id).reference == replaced.reference
    again = kept.replace(saved.card.id, 4, person(2), voice=replace(VOICE, transcript="Bye."), notes="new")
    assert (again.card.notes, again.voice.transcript) == ("new", "Bye.")
    assert len(names_in(kept)) == 1


def test_a_name_is_had_by_one_alone(kept: Any) -> None:
    ann, bea = kept.save_new("Stra\u00dfe", person()), kept.save_new("Bea", person())
    words = "name: found 'STRASSE', which another character has; wanted a name of its own. Choose another name."
    assert refusal(lambda: kept.save_new("STRASSE", person()), problems.NameTaken) == words
    assert refusal(lambda: kept.edit(bea.card.id, 1, name="STRASSE"), problems.NameTaken) == words
    assert kept.edit(ann.card.id, 1, name="STRASSE").card.name == "STRASSE"
    assert kept.find("bea").card == bea.card
    assert kept.find("Cay") is None


def test_a_change_of_an_earlier_revision_is_refused(kept: Any) -> None:
    character_id = kept.save_new("Ann", person()).card.id
    kept.edit(character_id, 1, notes="first")
    words = (
        "revision: found a change of revision 1; wanted one of revision 2. "
        "Look at the character again: somebody changed it meanwhile."
    )
    for change in (
        lambda: kept.edit(character_id, 1, notes="late"),
        lambda: kept.replace(character_id, 1, person(2)),
    ):
        assert refusal(change, problems.RevisionConflict) == words
    assert entry_of(kept, character_id).card.notes == "first"


def test_an_exported_file_comes_back_as_another_character(kept: Any) -> None:
    saved = kept.save_new("A" * 64, person(), VOICE, notes="tall")
    content = kept.export(saved.card.id)
    second, third = kept.import_file(content), kept.import_file(content)
    assert [one.card.name for one in (second, third)] == ["A" * 60 + " (2)", "A" * 60 + " (3)"]
    assert len({saved.card.id, second.card.id, third.card.id}) == 3
    assert second.card == replace(saved.card, id=second.card.id, name=second.card.name, revision=1)
    assert second.reference.partition("@")[2] == saved.reference.partition("@")[2]
    kept.delete(saved.card.id)
    assert kept.import_file(content).card.name == "A" * 64


# Versions


@posix
@pytest.mark.parametrize("is_edited", [True, False])
def test_a_file_of_version_0_is_read_as_it_is_and_changed_with_a_backup(kept: Any, is_edited: bool) -> None:
    content = file_v0()
    path = place(kept, content)
    entry, loaded = entry_of(kept, ID), kept.load(ID, input_name="character")
    assert (entry.card.name, entry.sex, entry.age_years, entry.reference) == ("Old", "male", 41, loaded.reference)
    assert kept.export(ID) == content == path.read_bytes()
    refusal(lambda: kept.edit(ID, 7, notes="late"), problems.RevisionConflict)
    assert names_in(kept) == [path.name]
    changed = kept.edit(ID, 1, notes="new") if is_edited else kept.replace(ID, 1, loaded.identity, notes="new")
    assert character_files.version_of(path.read_bytes()) == 1
    assert (changed.card.notes, changed.card.revision, changed.reference) == ("new", 2, entry.reference)
    backup = Path(kept.folder, f"{ID}.v0.backup")
    assert backup.read_bytes() == content
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    kept.delete(ID)
    assert names_in(kept) == []


def test_a_newer_version_is_refused_untouched(kept: Any) -> None:
    content = save(tensors_v0(), {"wancast_character": '{"format_version": 99, "soul": 1}'})
    path = place(kept, content)
    words = "it is of version 99, and this WanCast reads up to version 1: update WanCast"
    assert kept.entries().faults == (library.Fault(ID, f"The file cannot be used: {words}."),)
    for action in (
        lambda: kept.load(ID, input_name="character"),
        lambda: kept.edit(ID, 1, name="Mine"),
        lambda: kept.replace(ID, 1, person()),
        lambda: kept.export(ID),
        lambda: kept.import_file(content),
    ):
        assert words in refusal(action)
    assert refusal(partial(kept.import_file, content)).endswith("Choose a file that was exported.")
    assert path.read_bytes() == content
    assert names_in(kept) == [path.name]


# Faults


@posix
def test_damaged_files_are_told_and_can_be_deleted(kept: Any, tmp_path: Path) -> None:
    good = kept.save_new("Ann", person())
    content = kept.export(good.card.id)
    (tmp_path / "secret").write_bytes(content)
    ids = [f"{number:032x}" for number in range(5)]
    place(kept, content[:-1], f"{ids[0]}.safetensors")
    place(kept, b"", f"{ids[1]}.safetensors")
    Path(kept.folder, f"{ids[2]}.safetensors").symlink_to(tmp_path / "secret")
    Path(kept.folder, f"{ids[3]}.safetensors").mkdir()
    os.mkfifo(Path(kept.folder, f"{ids[4]}.safetensors"))
    place(kept, content, "notes.safetensors")
    no_file = "it is a link, a folder or a device, and no file"
    listing = kept.entries()
    assert [entry.card for entry in listing.entries] == [good.card]
    assert [fault.id for fault in listing.faults] == ids
    assert "it is cut off" in listing.faults[0].message
    assert "it ends after 0 bytes" in listing.faults[1].message
    assert {fault.message for fault in listing.faults[2:]} == {f"The file cannot be used: {no_file}."}
    for fault in listing.faults:
        words = refusal(lambda fault=fault: kept.load(fault.id, input_name="character"))
        assert words.startswith("character: found a file that cannot be used: it ")
    for index in (0, 1, 2, 4):
        kept.delete(ids[index])
    words = f"a folder in place of the character's file; wanted a file. Remove the folder {ids[3]}.safetensors from"
    assert words in refusal(lambda: kept.delete(ids[3]))
    assert (tmp_path / "secret").read_bytes() == content
    assert [fault.id for fault in kept.entries().faults] == [ids[3]]


@pytest.mark.parametrize(
    "value",
    ["", "../x", "a" * 31, "A" * 32, f"{ID}.safetensors", f"{ID}@", f"{ID}@{'a' * 11}", f"{ID}\n", ID + "\0", 7],
)
def test_what_is_no_reference_never_comes_near_a_path(kept: Any, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Library, "path_of", lambda *_: pytest.fail("a path was made"))
    words = f"face: found {errors.quoted(value)}; wanted a character of the library. Pick one in the node."
    assert refusal(lambda: kept.load(value, input_name="face")) == words
    assert refusal(lambda: kept.state(value, input_name="face")) == words


def test_only_an_id_becomes_a_path(kept: Any) -> None:
    for action in (kept.export, kept.delete, lambda value: kept.edit(value, 1), kept.path_of):
        assert "wanted a character's id" in refusal(lambda action=action: action("../" * 4 + "x"))


def test_who_is_not_there_is_unknown(kept: Any) -> None:
    words = "character that is not in the library; wanted one of the library. Pick another one, or import its file."
    for action in (
        lambda: kept.load(ID, input_name="character"),
        lambda: kept.state(ID, input_name="character"),
        lambda: kept.export(ID),
        lambda: kept.edit(ID, 1, notes="x"),
        lambda: kept.replace(ID, 1, person()),
        lambda: kept.delete(ID),
    ):
        assert refusal(action, problems.UnknownCharacter).endswith(words)
    assert not Path(kept.folder).exists()


@posix
@pytest.mark.parametrize("link", ["characters", "__wancast"])
def test_a_linked_folder_is_neither_read_nor_written(tmp_path: Path, link: str) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "user" / "__wancast" / "characters"
    (outside / "characters").mkdir(parents=True)
    place_of_link = folder if link == "characters" else folder.parent
    place_of_link.parent.mkdir(parents=True)
    place_of_link.symlink_to(outside)
    kept = Library(str(folder))
    for action in (
        kept.entries,
        lambda: kept.save_new("Ann", person()),
        lambda: kept.delete(ID),
    ):
        assert "a library that cannot be used (it is a link to another folder)" in refusal(action)
    assert sorted(path.name for path in outside.rglob("*")) == ["characters"]


NO_ROOM = "no room left on the disk of the library; wanted room for the whole character. Free space there."
NOT_TO_USE = "a library that cannot be used ('Permission denied'); wanted the folder __wancast/characters"


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, NO_ROOM), (errno.EDQUOT, NO_ROOM), (errno.EFBIG, NO_ROOM), (errno.EACCES, NOT_TO_USE)],
)
@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
def test_what_cannot_be_written_leaves_the_old(
    kept: Any, monkeypatch: pytest.MonkeyPatch, call: str, code: int, words: str
) -> None:
    character = kept.save_new("Ann", person())
    before, usual = kept.export(character.card.id), getattr(os, call)

    def refuse(*arguments: Any, **named: Any) -> Any:
        if call != "open" or str(arguments[0]).endswith(".saving"):
            raise OSError(code, os.strerror(code), "/secret/place")
        return usual(*arguments, **named)

    monkeypatch.setattr(os, call, refuse)
    for action in (
        lambda: kept.edit(character.card.id, 1, notes="x"),
        lambda: kept.save_new("Bea", person()),
        lambda: kept.import_file(before),
    ):
        assert words in refusal(action)
    monkeypatch.undo()
    assert names_in(kept) == [f"{character.card.id}.safetensors"]
    assert kept.export(character.card.id) == before


def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "characters").write_bytes(b"")
    kept = Library(str(tmp_path / "characters"))
    assert "cannot be used ('File exists')" in refusal(lambda: kept.save_new("Ann", person()))
    assert "cannot be used ('Not a directory')" in refusal(kept.entries)


def test_what_killed_saves_left_is_removed_by_the_next(kept: Any) -> None:
    left = [f"{ID}.safetensors.saving", f"{ID}.v0.backup.saving"]
    for name in (*left, f"{ID}.v0.backup", "my notes.saving"):
        place(kept, b"x", name)
    assert kept.entries() == library.Listing((), ())
    assert set(left) < set(names_in(kept))  # looking removes nothing
    saved = kept.save_new("Ann", person())
    assert names_in(kept) == sorted([f"{saved.card.id}.safetensors", f"{ID}.v0.backup", "my notes.saving"])


def test_what_another_process_changes_is_waited_for(kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "LOCK_WAIT_S", 0.05)
    with kept._changing("name"):
        words = "name: found a library that another process is changing; wanted one that is free. Try again."
        assert refusal(lambda: Library(kept.folder).save_new("Ann", person())) == words
    kept.save_new("Ann", person())


# Saving, while somebody else does


def request(**changes: Any) -> Any:
    """What the node asks to be saved."""
    asked = {"name": "Ann", "identity": person(), "voice": None, "notes": "", "tags": (), "may_replace": True}
    return saving.SaveRequest(**(asked | {"consent": library.NOT_RECORDED} | changes))


@pytest.mark.parametrize(
    ("is_there", "call", "meanwhile", "asked", "fate"),
    [
        (False, "find", lambda other: other.save_new("Ann", person()), {}, "saved already"),
        (False, "find", lambda other: other.save_new("Ann", person(2)), {}, "replaced revision 1"),
        (True, "find", lambda other: other.delete(other.find("Ann").card.id), {}, "saved"),
        (True, "load", lambda other: other.delete(other.find("Ann").card.id), {"notes": "mine"}, "saved"),
        (
            True,
            "load",
            lambda other: other.edit(other.find("Ann").card.id, 1, tags=("new",)),
            {"notes": "mine"},
            "replaced revision 2",
        ),
    ],
)
def test_a_save_that_was_overtaken_looks_again(
    kept: Any,
    monkeypatch: pytest.MonkeyPatch,
    is_there: bool,
    call: str,
    meanwhile: Callable[[Any], Any],
    asked: dict[str, Any],
    fate: str,
) -> None:
    if is_there:
        kept.save_new("Ann", person())
    usual = getattr(kept, call)

    def overtaken(*arguments: Any, **named: Any) -> Any:
        found = usual(*arguments, **named)
        monkeypatch.undo()
        meanwhile(Library(kept.folder))
        return found

    monkeypatch.setattr(kept, call, overtaken)
    result = saving.save(kept, request(**asked))
    assert result.fate == fate
    assert [entry.card for entry in kept.entries().entries] == [result.character.card]
    assert result.character.card.notes == asked.get("notes", "")


def test_a_save_that_is_overtaken_for_ever_is_refused(kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise problems.NameTaken("name", found="", wanted="", fix="")

    monkeypatch.setattr(kept, "save_new", refuse)
    words = "name: found a character that others keep changing; wanted one that stays as it is meanwhile. Try again"
    assert refusal(lambda: saving.save(kept, request())).startswith(words)
