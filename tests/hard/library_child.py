"""Attacks on libraries of characters, in a process of its own and without a host.

``library_child.py FOLDER JOB=COUNT ...`` prints the figures of its jobs, a line of JSON, at its end.
"""

from __future__ import annotations

import builtins
import json
import os
import resource
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from tests.bench import workbench  # noqa: E402
from tests.hard import hostile  # noqa: E402
from tests.unit import some_libraries as parts  # noqa: E402
from tests.unit.identity.some_characters import ID, file_v0  # noqa: E402

PROCESSES, THREADS = 2, 4
NOBODY = 65534
Figures = dict[str, Any]


def in_fork(work: Callable[[], None]) -> int:
    """Starts some work in a process that is a copy of this one; returns its id."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(1)
    return child


# Many writers


def updates(folder: str, count: int) -> Figures:
    """Processes with threads that change one character at once, and readers beside them."""
    kept = parts.Library(folder)
    character_id = kept.save_new("Ann", parts.person(), notes="of nobody").card.id
    reader, writer = os.pipe()

    def change(process: int, thread: int) -> None:
        """Each change is of the revision that the thread sees."""
        own = parts.Library(folder)
        for number in range(count):
            revision, notes = parts.entry_of(own, character_id).card.revision, f"{process} {thread} {number}"
            try:
                now = own.edit(character_id, revision, notes=notes).card.revision
                answer = ["applied" if now == revision + 1 else "applied to another revision", now, notes]
            except parts.problems.RevisionConflict:
                answer = ["refused", revision, notes]
            os.write(writer, json.dumps(answer).encode() + b"\n")

    def change_in_threads(process: int) -> None:
        threads = [threading.Thread(target=change, args=(process, thread)) for thread in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    children = [in_fork(partial(change_in_threads, process)) for process in range(PROCESSES)]
    os.close(writer)
    seen: list[tuple[int, str]] = []
    pipe, left = os.fdopen(reader), threading.Event()
    watcher = threading.Thread(target=watch, args=(kept, character_id, seen, left.is_set))
    watcher.start()
    answers = [json.loads(line) for line in pipe]
    left.set()
    watcher.join()
    statuses = [os.waitpid(child, 0)[1] for child in children]
    applied = {revision: notes for answer, revision, notes in answers if answer == "applied"}
    last = parts.entry_of(kept, character_id).card
    return {
        "each": count,
        "answers": len(answers),
        "applied": sum(answer == "applied" for answer, _, _ in answers),
        "are_all_kept": sorted(applied) == list(range(2, last.revision + 1)) and applied[last.revision] == last.notes,
        "reads": len(seen),
        "torn": [read for read in seen if read[0] > 1 and applied.get(read[0]) != read[1]],
        "is_in_order": [revision for revision, _ in seen] == sorted(revision for revision, _ in seen),
        "statuses": statuses,
        "files": parts.names_in(kept) == [f"{character_id}.safetensors"],
    }


def watch(kept: Any, character_id: str, seen: list[tuple[int, str]], is_over: Callable[[], bool]) -> None:
    """Reads the whole character again and again; its hashes say whether it is whole."""
    while not is_over():
        card = kept.load(character_id, input_name="character").card
        seen.append((card.revision, card.notes))


# Killed


CALLS = ("open", "write", "fsync", "replace", "remove", "link", "mkdir", "close", "ftruncate", "rename", "unlink")


@contextmanager
def killed_at(step: int, steps: list[str]) -> Iterator[None]:
    """Counts what the block asks of the system, before and after each call; at one of these the process dies."""

    def at(name: str) -> None:
        steps.append(name)
        if len(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def stepped(name: str, usual: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            at(f"before {name}")
            done = usual(*arguments, **named)
            at(f"after {name}")
            return done

        return call

    def opened(path: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        file = usual_open(path, mode, *arguments, **named)
        if "x" not in mode:
            return file
        write, fd = file.write, file.fileno()

        def write_half_first(content: bytes) -> None:
            os.write(fd, content[: len(content) // 2])
            at("half written")
            write(content[len(content) // 2 :])
            file.flush()
            at("written")

        return HalfWritten(file, write_half_first)

    usual_open, usual = builtins.open, {name: getattr(os, name) for name in CALLS if hasattr(os, name)}
    builtins.open = opened
    for name, call in usual.items():
        if name != "write":
            setattr(os, name, stepped(name, call))
    try:
        yield
    finally:
        builtins.open = usual_open
        for name, call in usual.items():
            setattr(os, name, call)


class HalfWritten:
    """A file whose content is written in two halves."""

    def __init__(self, file: Any, write: Callable[[bytes], None]) -> None:
        self._file, self.write = file, write

    def __enter__(self) -> HalfWritten:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def die_at(step: int, change: Callable[[], object]) -> None:
    with killed_at(step, []):
        change()


def refuse_links(*_: object, **__: object) -> None:
    raise OSError(95, "Operation not supported")


def kills(folder: str, count: int) -> Figures:
    """Every step of a save, a change, a change of a file of version 0, and a deletion, each in a library of its own."""
    os.link = refuse_links
    died, wrong, steps_of = Counter(), [], {}
    for name, (prepare, change, is_good) in KILLED.items():
        steps: list[str] = []
        os.makedirs(os.path.join(folder, name))
        rehearsal = parts.Library(os.path.join(folder, name, "rehearsal"))
        known = prepare(rehearsal)
        with killed_at(0, steps):
            change(rehearsal, known)
        steps_of[name] = len(steps)
        chosen = sorted(Random(hostile.SEED).sample(range(1, len(steps) + 1), min(count, len(steps))))
        for step in chosen:
            kept = parts.Library(os.path.join(folder, name, str(step)))
            known = prepare(kept)

            _, status = os.waitpid(in_fork(partial(die_at, step, partial(change, kept, known))), 0)
            died[status & 127] += 1
            listing = kept.entries()
            if listing.faults or not is_good(kept, known, listing.entries):
                wrong.append(f"{name}, {steps[step - 1]} ({step}): {listing.faults}")
            bystander = kept.save_new("Bystander", parts.person(9))  # the lock is free, and what was left goes
            whole = {entry.card.id for entry in kept.entries().entries}
            left = [file for file in parts.names_in(kept) if file.endswith(".saving") or file[:32] not in whole]
            if left or kept.load(bystander.reference, input_name="character").card != bystander.card:
                wrong.append(f"{name}, {steps[step - 1]} ({step}): {left}")
    return {"died": died, "wrong": wrong, "steps": steps_of}


def prepared(kept: Any) -> Any:
    return kept.save_new("Ann", parts.person(), notes="old")


def prepared_v0(kept: Any) -> Any:
    parts.place(kept, file_v0())
    return kept.load(ID, input_name="character")


def migrated(kept: Any) -> Any:
    """A character with a backup beside it."""
    kept.edit(prepared_v0(kept).card.id, 1, notes="changed")
    return kept.load(ID, input_name="character")


def is_old_or(new: dict[str, Any]) -> Callable[[Any, Any, Any], bool]:
    """Whether the character that was there is whole, and is as it was or has the changes."""

    def is_good(kept: Any, known: Any, entries: Any) -> bool:
        found = kept.load(known.card.id, input_name="character")
        are_same = all(torch.equal(known.tensors()[name], tensor) for name, tensor in found.tensors().items())
        cards = (known.card, replace(known.card, revision=known.card.revision + 1, **new))
        return len(entries) == 1 and are_same and entries[0].card == found.card and found.card in cards

    return is_good


KILLED: dict[str, tuple[Callable[[Any], Any], Callable[[Any, Any], object], Callable[[Any, Any, Any], bool]]] = {
    "save": (
        lambda kept: None,
        lambda kept, _: kept.save_new("Ann", parts.person()),
        lambda kept, _, entries: [entry.card.name for entry in entries] in ([], ["Ann"]),
    ),
    "edit": (prepared, lambda kept, known: kept.edit(known.card.id, 1, notes="new"), is_old_or({"notes": "new"})),
    "edit of version 0": (
        prepared_v0,
        lambda kept, known: kept.edit(known.card.id, 1, notes="new"),
        is_old_or({"notes": "new"}),
    ),
    "delete": (
        migrated,
        lambda kept, known: kept.delete(known.card.id),
        lambda kept, known, entries: not entries or is_old_or({})(kept, known, entries),
    ),
}


# No room


def limits(folder: str, count: int) -> Figures:
    """Saves and changes while no file may have more than so many bytes: what they say."""
    kept = parts.Library(folder)
    known = prepared(kept)
    content, said = kept.export(known.card.id), Counter()
    actions = (
        partial(kept.edit, known.card.id, 1, notes="new"),
        partial(kept.save_new, "Bea", known.identity),
        partial(kept.import_file, content),
    )
    for limit_bytes in (number * len(content) // count for number in range(count)):
        reader, writer = os.pipe()

        def change(limit_bytes: int = limit_bytes, writer: int = writer) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
            for action in actions:
                os.write(writer, outcome(action, lambda error: error.found).encode() + b"\n")

        os.waitpid(in_fork(change), 0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            said.update(pipe.read().splitlines())
    is_unchanged = parts.names_in(kept) == [f"{known.card.id}.safetensors"] and kept.export(known.card.id) == content
    return {"said": said, "is_unchanged": is_unchanged}


def read_only(folder: str, count: int) -> Figures:
    """Changes by somebody who may only read the folder; where root may write everywhere, by nobody."""
    kept = parts.Library(os.path.join(folder, "characters"))
    known = prepared(kept)
    content, path = kept.export(known.card.id), os.path.join(kept.folder, f"{known.card.id}.safetensors")
    for place, mode in ((path, 0o644), (kept.folder, 0o555), (folder, 0o755)):
        os.chmod(place, mode)
    reader, writer = os.pipe()

    def change() -> None:
        os.chdir(folder)  # nobody may not come through the folders above
        own = parts.Library("characters")
        if os.geteuid() == 0:
            os.seteuid(NOBODY)
        edit, save = partial(own.edit, known.card.id, 1, notes="new"), partial(own.save_new, "Bea", known.identity)
        for action in (edit, save, partial(own.delete, known.card.id)):
            os.write(writer, outcome(action, lambda error: error.found).encode() + b"\n")
        os.write(writer, f"{len(own.entries().entries)} listed\n".encode())

    os.waitpid(in_fork(change), 0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read().splitlines()
    os.chmod(kept.folder, 0o700)
    is_unchanged = parts.names_in(kept) == [os.path.basename(path)] and kept.export(known.card.id) == content
    return {"said": said, "is_unchanged": is_unchanged}


# Damaged


def damage(folder: str, count: int) -> Figures:
    """Damaged files in the library and from outside: their answers, times and memory."""
    kept = parts.Library(folder)
    seeds = [kept.export(kept.save_new("Ann", parts.person(), parts.VOICE, notes="x").card.id), file_v0()]
    path, random, outcomes, times_s, start_bytes = parts.place(kept, b""), Random(hostile.SEED), Counter(), [], 0
    for number in range(count):
        make = random.choice((hostile.mutated, hostile.mutated_header, hostile.mutated_text, hostile.mutated_numbers))
        path.write_bytes(make(random, seeds[number % 10 == 0]))
        start_s = time.process_time()
        outcomes[outcome(lambda: kept.load(ID, input_name="character"))] += 1
        listing = kept.entries()
        times_s.append(time.process_time() - start_s)
        if len(listing.entries) + len(listing.faults) != 2:
            outcomes["hidden from the list"] += 1
        if number == count // 5:
            start_bytes = workbench.PROCESS.memory_info().rss
    grown_mib = (workbench.PROCESS.memory_info().rss - start_bytes) / hostile.MIB
    return {"outcomes": outcomes, "slowest_s": max(times_s), "grown_mib": grown_mib}


def outcome(use: Callable[[], object], words: Callable[[Any], str] = lambda error: "refused") -> str:
    """How the library answers: with a character, with a sentence that can be printed, or with a fault of its own."""
    try:
        use()
    except parts.errors.UserError as error:
        return words(error) if str(error).isprintable() else f"unprintable: {str(error)[:200]!a}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]!a}"
    return "used"


if __name__ == "__main__":
    torch.set_num_threads(1)
    figures = {}
    for job, count in (argument.split("=") for argument in sys.argv[2:]):
        work = {"updates": updates, "kills": kills, "limits": limits, "read_only": read_only, "damage": damage}[job]
        figures[job] = work(os.path.join(sys.argv[1], job), int(count))
    sys.stdout.write("\n" + json.dumps(figures) + "\n")
