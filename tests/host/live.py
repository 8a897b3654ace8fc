"""What the live tests hold in their hands: a prompt being built, a client of the host, and what a prompt left."""

from __future__ import annotations

import io
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from devtools import client as api
from devtools.setup import link

ROOT = Path(__file__).parents[2]
PROMPT_TIMEOUT_S = 240.0
DYNAMIC_COMBO, AUTOGROW = "COMFY_DYNAMICCOMBO_V3", "COMFY_AUTOGROW_V3"

PACKS = {
    "WanCast": ROOT,
    "wancast_demo": ROOT / "demo" / "host_nodes",
    "wancast_probe": ROOT / "tests" / "host" / "probe_nodes",
}

Json = dict[str, Any]


# The folder of a host


def prepare_base(base: Path, models: Path) -> Path:
    """Fills a host's base folder: our pack and the two for tests, the models, the real inputs of tests/data."""
    for folder in ("custom_nodes", "models", "input", "output"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    for name, source in PACKS.items():
        link(base / "custom_nodes" / name, source)
    for source in filter(Path.is_file, models.glob("*/**/*")):
        target = base / "models" / source.relative_to(models)
        target.parent.mkdir(parents=True, exist_ok=True)
        share_file(source.resolve(), target)
    for source in (ROOT / "tests" / "data").iterdir():
        if source.is_file():
            shutil.copy(source, base / "input" / source.name)
    return base


def share_file(source: Path, target: Path) -> None:
    """Gives a file a second name, or a second copy on another disk."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)


# A prompt and what it left


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a prompt under construction; ``node[1]`` is its second output."""

    id: str

    def __getitem__(self, slot: int) -> list[Any]:
        return [self.id, slot]


class Graph:
    """An API prompt under construction."""

    def __init__(self) -> None:
        self.prompt: Json = {}

    def add(self, class_type: str, /, **inputs: Any) -> Node:
        """Adds a node; an input with a dot in its name is written with two underscores."""
        node = Node(str(len(self.prompt) + 1))
        inputs = {name.replace("__", "."): value for name, value in inputs.items()}
        self.prompt[node.id] = {"class_type": class_type, "inputs": inputs, "_meta": {"title": class_type}}
        return node

    def make(self, **spec: Any) -> list[Any]:
        """Adds a probe that makes what the specification describes, and returns its output."""
        return self.add("WanCastProbeTensor", spec=json.dumps(spec))[0]

    def edit(self, value: list[Any], path: str, /, **spec: Any) -> list[Any]:
        """Adds a probe that replaces one place of a value, and returns its output."""
        return self.add("WanCastProbeEdit", value=value, path=path, spec=json.dumps(spec))[0]

    def save(self, value: list[Any]) -> Node:
        """Adds a probe that saves the value without loss."""
        return self.add("WanCastProbeSave", value=value)

    def hash(self, value: list[Any], *, after: list[Any] | None = None) -> Node:
        """Adds a probe that hashes the value (after another node has run) and hands it on."""
        return self.add("WanCastProbeHash", value=value, **({} if after is None else {"after": after}))


@dataclass(frozen=True, slots=True)
class Saved:
    """A value that a probe saved."""

    arrays: dict[str, np.ndarray]  # by path; "" is the value itself
    tree: Json  # everything else by path, and the dtype of each array

    @property
    def array(self) -> np.ndarray:
        """The only array of the value."""
        (array,) = self.arrays.values()
        return array

    def __eq__(self, other: object) -> bool:
        """Bit for bit, so that a NaN equals the same NaN."""
        return isinstance(other, Saved) and self.tree == other.tree and self.bits() == other.bits()

    def bits(self) -> dict[str, tuple[Any, ...]]:
        return {path: (a.dtype.str, a.shape, a.tobytes()) for path, a in self.arrays.items()}


@dataclass(frozen=True, slots=True)
class Run:
    """A prompt that ended well."""

    client: Client
    entry: Json  # its history entry

    def output(self, node: Node) -> Json:
        """What the node sent to the user interface."""
        return self.entry["outputs"][node.id]

    def saved(self, node: Node) -> Saved:
        """The value that a save probe wrote."""
        content = api.view(self.client.url, self.output(node)["probe"][0])
        with np.load(io.BytesIO(content)) as file:
            arrays = {name.removeprefix("array"): file[name] for name in file.files if name != "tree"}
            return Saved(arrays, json.loads(str(file["tree"])))

    def digest(self, node: Node) -> str:
        """The hash that a hash probe took."""
        return self.output(node)["digest"][0]

    def cached_nodes(self) -> set[str]:
        """The ids of the nodes that the host took from its cache."""
        return set(dict(self.entry["status"]["messages"])["execution_cached"]["nodes"])


@dataclass(frozen=True, slots=True)
class Client:
    """A client of one live host."""

    url: str

    def run(self, graph: Graph, *, timeout_s: float = PROMPT_TIMEOUT_S) -> Run:
        """Runs the prompt to its good end."""
        return Run(self, api.wait(self.url, api.submit(self.url, graph.prompt), timeout_s))

    def values(self, graph: Graph, outputs: Iterable[list[Any]]) -> list[Saved]:
        """Runs the prompt and returns the values of some outputs."""
        nodes = [graph.save(output) for output in outputs]
        run = self.run(graph)
        return [run.saved(node) for node in nodes]

    def value(self, graph: Graph, output: list[Any]) -> Saved:
        """Runs the prompt and returns the value of one output."""
        (found,) = self.values(graph, [output])
        return found

    def fails(self, graph: Graph, *, timeout_s: float = PROMPT_TIMEOUT_S) -> api.PromptFailed:
        """Runs a prompt that must fail and returns what the host said."""
        try:
            self.run(graph, timeout_s=timeout_s)
        except api.PromptFailed as failure:
            return failure
        raise AssertionError("the prompt was expected to fail, and ran")

    def require_work(self) -> None:
        """The host still runs prompts: a small one that it has not seen ends well."""
        graph = Graph()
        graph.hash(graph.make(value=uuid.uuid4().hex))
        self.run(graph)

    def get(self, path: str) -> Any:
        """The JSON answer of the host."""
        return json.loads(api.fetch(f"{self.url}{path}"))

    def post(self, path: str, body: Any) -> None:
        """Sends JSON to the host."""
        api.fetch(f"{self.url}{path}", json.dumps(body).encode(), "application/json")

    def forget(self) -> None:
        """Makes the host drop its models and cached results.

        It does so after a prompt, so a small one is run: the next one then finds a host without memory of anything.
        """
        self.post("/free", {"unload_models": True, "free_memory": True})
        self.require_work()

    def events(self, graph: Graph) -> Iterator[tuple[str, Json]]:
        """Submits the prompt and yields the events of its run as the host sends them, to the last."""
        return (frame for frame in self.frames(graph) if not isinstance(frame, bytes))

    def frames(self, graph: Graph, **settings: Any) -> Iterator[bytes | tuple[str, Json]]:
        """The same with the host's binary messages, which hold pictures; the settings go beside the prompt."""
        import websocket

        client_id = uuid.uuid4().hex
        address = f"{self.url.replace('http', 'ws', 1)}/ws?clientId={client_id}"
        with closing(websocket.create_connection(address, timeout=PROMPT_TIMEOUT_S)) as socket:
            prompt_id = api.submit(self.url, graph.prompt, client_id=client_id, extra_data=settings)
            while True:
                frame = socket.recv()
                if isinstance(frame, bytes):
                    yield frame
                    continue
                message = json.loads(frame)
                if message["data"].get("prompt_id") != prompt_id:
                    continue
                yield message["type"], message["data"]
                if message["type"] in ("execution_success", "execution_error", "execution_interrupted"):
                    return


# What the host says of a node


@dataclass(frozen=True, slots=True)
class Slot:
    """An input of a node, or one that a choice of its DynamicCombo brings."""

    name: str
    kind: str
    about: Json
    required: bool
    choice: tuple[str, ...] = ()  # the DynamicCombo and its choice

    @property
    def key(self) -> str:
        """Its name in a locale file."""
        return self.name.replace(".", "_")


def slots_of(inputs: Json, prefix: str = "", choice: tuple[str, ...] = ()) -> Iterator[Slot]:
    """Every input in order, those of a DynamicCombo's choices behind it, of an Autogrow the first."""
    for group in ("required", "optional"):
        for name, (kind, *about) in inputs.get(group, {}).items():
            if kind == AUTOGROW:
                template = about[0]["template"]
                ((one,),) = (like.values() for like in template["input"].values() if like)
                grown = {"required" if template["min"] else "optional": {template["names"][0]: one}}
                yield from slots_of(grown, f"{name}.")
                continue
            slot = Slot(prefix + name, kind, about[0] if about else {}, group == "required", choice)
            yield slot
            for option in slot.about.get("options", []) if kind == DYNAMIC_COMBO else []:
                yield from slots_of(option["inputs"], f"{slot.name}.", (slot.name, option["key"]))
