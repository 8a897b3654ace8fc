"""Characters are saved and loaded bit for bit, in one host and in the next, and leave nothing when they are deleted."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from devtools.server import HostServer
from tests.host import recipes
from tests.host.bad_files import CAN_DANGLE
from tests.host.live import Client, Graph, Node, Saved
from tests.host.page_calls import CHARACTERS, ask, edit, listed
from tests.host.test_leaks import leaks

LIBRARY = Path("user", "__wancast", "characters")
NARRATOR_KEYS = """audio audio_path source_audio_path reference_text canonical_reference_text character_name source
customized trim_start trim_end"""
NO_VOICE = "This character has no voice."


def saving(graph: Graph, **changes: Any) -> Node:
    """The node that saves, under a name that no other test has."""
    return Node(recipes.saved_character(graph, **{"name": uuid4().hex, "if_exists": "refuse"} | changes)[0])


def loading(graph: Graph, reference: object) -> Node:
    return Node(recipes.loaded_character(graph, character=reference)[0])


def text(client: Client, graph: Graph, output: list[Any]) -> str:
    return client.value(graph, output).tree[""]


def save(client: Client, **changes: Any) -> tuple[str, str]:
    """A character that a prompt of its own saved: the reference and the report."""
    graph = Graph()
    node = saving(graph, **changes)
    reference, report = client.values(graph, [node[1], node[2]])
    return reference.tree[""], report.tree[""]


def report_of(client: Client, reference: str) -> str:
    """What the node that loads says, in a prompt of its own."""
    graph = Graph()
    return text(client, graph, loading(graph, reference)[5])


def id_of(reference: str) -> str:
    return reference.split("@")[0]


def file_of(host: HostServer, reference: str) -> Path:
    return host.base_dir / LIBRARY / f"{id_of(reference)}.safetensors"


# Bits


def test_what_is_loaded_is_what_was_saved(client: Client) -> None:
    graph = Graph()
    sound = recipes.speech(graph)
    saver = saving(graph, name=f"Ann {uuid4().hex[:8]}", voice=sound, transcript=" \u4f60\u597d, all. ")
    loader = loading(graph, saver[1])
    outputs = [recipes.identity(graph), saver[0], loader[0], sound, loader[2], *(loader[slot] for slot in (1, 3, 4))]
    encoded, saved, loaded, recording, voice, preview, transcript, narrator = client.values(graph, outputs)
    assert encoded == saved == loaded
    assert voice == recording
    assert preview.array[0].tobytes() == encoded.arrays["/portrait"].tobytes()
    assert transcript.tree[""] == "\u4f60\u597d, all."
    require_narrator(narrator, recording, transcript.tree[""], graph.prompt[saver.id]["inputs"]["name"])


def require_narrator(narrator: Saved, recording: Saved, transcript: str, name: str) -> None:
    """What the nodes of TTS Audio Suite read in a NARRATOR_VOICE."""
    assert {*narrator.tree["/keys"]} == {*NARRATOR_KEYS.split()}
    assert narrator.arrays["/audio/waveform"].tobytes() == recording.arrays["/waveform"].tobytes()
    assert narrator.tree["/audio/sample_rate"] == recording.tree["/sample_rate"]
    assert {narrator.tree[f"/{part}"] for part in ("reference_text", "canonical_reference_text")} == {transcript}
    said = {"character_name": name, "source": "direct", "customized": True, "audio_path": None}
    assert {part: narrator.tree[f"/{part}"] for part in said} == said


def test_what_needs_a_voice_does_not_run_and_says_why(client: Client) -> None:
    graph = Graph()
    loader = loading(graph, save(client)[0])
    waiting = [graph.hash(loader[slot]) for slot in (2, 3, 4)]
    person = graph.hash(loader[0])
    *_, (kind, data) = client.events(graph)  # to the first of those that wait
    assert kind == "execution_error" and NO_VOICE in data["exception_message"]
    outputs = client.run(graph).entry["outputs"]  # the prompt itself ends well
    assert person.id in outputs and not outputs.keys() & {loader.id, *(node.id for node in waiting)}


def film(graph: Graph, person: list[Any]) -> Node:
    """The hash of the pictures of a shot with that person, of both experts."""
    names = (("model_high", recipes.HIGH), ("model_low", recipes.LOW))
    models = {key: recipes.locked(graph, recipes.model(graph, name), identity=person) for key, name in names}
    return graph.hash(recipes.decoded(graph, samples=recipes.moe_sample(graph, **models)))


def test_another_process_makes_the_same_film_of_the_character(
    client: Client, live_host: HostServer, newer_host: HostServer
) -> None:
    graph = Graph()
    saver = saving(graph)
    films = [film(graph, saver[0]), film(graph, loading(graph, saver[1])[0])]
    stranger = film(graph, graph.add("WanCastProbeIdentity", seed=5, references=1)[0])
    run = client.run(graph)
    first, second = map(run.digest, films)
    assert first == second != run.digest(stranger)
    moved = listed(client.url)[graph.prompt[saver.id]["inputs"]["name"]]["reference"]
    target = file_of(newer_host, moved)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file_of(live_host, moved), target)
    other = Graph()
    elsewhere = film(other, loading(other, moved)[0])
    assert Client(newer_host.url).run(other).digest(elsewhere) == first


# What a name stands for


def test_a_name_is_saved_once_refused_for_another_and_replaced_when_that_is_wished(
    client: Client, live_host: HostServer
) -> None:
    name = f"Ann {uuid4().hex}"
    words = {"notes": "first", "tags": "a,b", "consent_by": "Ann", "consent_until": "2099-01-01"}
    first, report = save(client, name=name, **words)
    assert report.startswith("saved\n")
    before = file_of(live_host, first).stat().st_mtime_ns
    for other_way in ({"name": f" {name.upper()} "}, {"tags": " a \uff0cb,"}, {"if_exists": "replace"}):
        assert save(client, **{"name": name, **other_way}) == (first, report.replace("saved\n", "saved already\n"))
    assert file_of(live_host, first).stat().st_mtime_ns == before
    graph = Graph()
    graph.hash(saving(graph, name=name, notes="second")[1])
    message = client.fails(graph).message
    assert message.startswith(f"WanCastCharacterSave: name: found '{name}', under which another")
    assert "set if_exists to replace" in message
    second, report = save(client, name=name, notes="second", if_exists="replace")
    assert report.startswith("replaced revision 1\n") and second == first
    entry = listed(client.url)[name]
    assert (entry["revision"], entry["notes"], entry["tags"]) == (2, "second", ["a", "b"])
    assert entry["consent"] == {"by": "Ann", "scope": "", "until": "2099-01-01"}
    save(client, name=name, consent_by="Bea", if_exists="replace")
    assert listed(client.url)[name]["consent"] == {"by": "Bea", "scope": "", "until": None}  # nobody's date but hers


def test_a_file_that_has_gone_is_written_again_and_only_then(client: Client, live_host: HostServer) -> None:
    graph = Graph()
    saver = saving(graph)
    shown = graph.save(saver[1])
    runs = [client.run(graph) for _ in range(2)]
    assert saver.id in runs[1].cached_nodes()
    reference = runs[0].saved(shown).tree[""]
    file_of(live_host, reference).unlink()
    runs += [client.run(graph) for _ in range(2)]
    assert saver.id not in runs[2].cached_nodes() and saver.id in runs[3].cached_nodes()
    again = runs[2].saved(shown).tree[""]
    assert file_of(live_host, again).is_file() and again.split("@")[1] == reference.split("@")[1]


# What is loaded follows the file


def test_a_file_that_stays_is_read_once_until_the_host_frees_memory_and_a_changed_one_again(client: Client) -> None:
    reference, _ = save(client)
    unseen = iter(range(99))

    def counts() -> tuple[int, int]:
        """Hits and misses, as the node says them when it runs; a link that is new makes it run."""
        graph = Graph()
        link = graph.make(value=reference, unseen=f"{reference} {next(unseen)}")
        words = text(client, graph, loading(graph, link)[5]).rsplit("; ", 1)[1].split()
        return int(words[0]), int(words[2].removesuffix(","))

    def gained(since: tuple[int, int]) -> tuple[int, int]:
        now = counts()
        return now[0] - since[0], now[1] - since[1]

    start = counts()
    assert gained(start) == (1, 0)
    client.forget()
    assert gained(start) == (1, 1)
    edit(client.url, id_of(reference), revision=1, notes="another")
    assert gained(start) == (1, 2)
    assert gained(start) == (2, 2)


@pytest.mark.parametrize("comes", ["as a value", "through a link"])
def test_the_host_runs_the_node_again_when_its_file_is_another(client: Client, comes: str) -> None:
    name = uuid4().hex
    reference, report = save(client, name=name)
    graph = Graph()
    loader = loading(graph, reference if comes == "as a value" else graph.make(value=reference))
    shown = graph.save(loader[5])

    def loaded() -> tuple[str, bool]:
        """What the same prompt says now, and whether it comes from the host's cache."""
        run = client.run(graph)
        return run.saved(shown).tree[""], loader.id in run.cached_nodes()

    words, _ = loaded()
    assert words.startswith(report.partition("\n")[2])
    assert loaded() == (words, True)
    edit(client.url, id_of(reference), revision=1, consent={"by": "Ann", "scope": "", "until": "2020-01-01"})
    words, is_cached = loaded()
    assert "revision 2" in words and "note: the consent ended on 2020-01-01" in words and not is_cached
    assert loaded() == (words, True)
    other = Graph()
    stranger = other.add("WanCastProbeIdentity", seed=3, references=2)[0]
    other.hash(saving(other, identity=stranger, name=name, if_exists="replace")[1])
    client.run(other)
    words, is_cached = loaded()
    assert "note: it was changed after the workflow picked it: " in words and not is_cached
    ask(client.url, "DELETE", f"{CHARACTERS}/{id_of(reference)}")
    for _ in range(2):
        graph.hash(loader[0])  # a node that is new to the host
        message = client.fails(graph).message
        assert message.startswith("WanCastCharacterLoad: character: found a character that is not in the library")


# What is left of one that is deleted


def test_of_a_deleted_character_nothing_is_left(client: Client, live_host: HostServer) -> None:
    """The search does find the numbers as long as the character is there; it is that of test_leaks."""
    begun_s, log_start = time.time() - 1, live_host.log_path.stat().st_size
    graph = Graph()
    stranger = graph.add("WanCastProbeIdentity", seed=77, references=2)[0]
    saver = saving(graph, identity=stranger)
    loader = loading(graph, saver[1])
    numbers, reference, preview = (graph.save(output) for output in (loader[0], saver[1], loader[1]))
    broken = Graph()
    run = client.run(graph)
    person = run.saved(numbers).arrays
    found = run.saved(reference).tree[""]
    vectors = {name: person[f"/{name}"].reshape(-1) for name in ("z", "references")}
    for node in (numbers, preview):
        (live_host.base_dir / "output" / run.output(node)["probe"][0]["filename"]).unlink()
    broken.hash(recipes.locked(broken, recipes.model(broken), identity=loading(broken, found)[0], blocks="0-99"))
    client.fails(broken)
    edit(client.url, id_of(found), revision=1, notes="changed")
    for part in ("thumbnail", "export"):
        assert ask(client.url, "GET", f"{CHARACTERS}/{id_of(found)}/{part}").status == 200

    def traces() -> set[str]:
        """The files that the host wrote since, and its answers, that hold numbers of the vectors in a row."""
        folders = [live_host.base_dir / folder for folder in ("user", "output", "temp")]
        files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        files += live_host.base_dir.glob("comfyui.db*")
        left = {path.name: path.read_bytes() for path in files if path.stat().st_mtime > begun_s}
        left |= {
            "log": live_host.log_path.read_bytes()[log_start:],
            "history": json.dumps(client.get("/history")).encode(),
        }
        assert len(left) > 2
        return {name for name, content in left.items() for one in vectors.values() if next(leaks(content, one), None)}

    assert traces() == {f"{id_of(found)}.safetensors"}
    ask(client.url, "DELETE", f"{CHARACTERS}/{id_of(found)}")
    assert traces() == set()


# A library that cannot be used


@pytest.fixture
def free_place(live_host: HostServer) -> Iterator[Path]:
    """The place of the library's folder, which is free for a test."""
    place = live_host.base_dir / LIBRARY.parent
    aside = place.with_name("aside")
    place.mkdir(parents=True, exist_ok=True)
    place.rename(aside)
    yield place
    place.rmdir() if place.is_dir() and not place.is_symlink() else place.unlink()
    aside.rename(place)


@pytest.mark.parametrize("kind", [*(["link"] if CAN_DANGLE else []), "file", "read-only folder"])
def test_a_library_that_cannot_be_used_is_named_and_nothing_is_written_elsewhere(
    client: Client, tmp_path: Path, free_place: Path, kind: str
) -> None:
    if kind == "link":
        free_place.symlink_to(tmp_path, target_is_directory=True)
    elif kind == "file":
        free_place.write_bytes(b"")
    else:
        free_place.mkdir(mode=0o500)
        if os.access(free_place, os.W_OK):
            pytest.skip("root may write anywhere; would prove that a read-only user folder is named")
    graph = Graph()
    graph.hash(saving(graph)[1])
    message = client.fails(graph).message
    assert message.startswith("WanCastCharacterSave: name: found a library that cannot be used (")
    answer = ask(client.url, "GET", CHARACTERS)
    assert (
        answer.json == {"characters": [], "faults": []}
        if kind == "read-only folder"
        else answer.fault == (400, "input")
    )
    assert str(free_place) not in message + answer.content.decode()
    assert list(tmp_path.iterdir()) == []
