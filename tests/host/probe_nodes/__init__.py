"""Nodes that only the tests load: save any value without loss, make odd inputs, change part of a value, hash it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import folder_paths
import numpy as np
import torch
from comfy.nested_tensor import NestedTensor
from comfy_api.latest import ComfyExtension, io

from . import foreign, identity, memory, moe, newer_attention, video, watch
from .probe import Probe

PATCHER_PARTS = (
    "model_options",
    "patches",
    "object_patches",
    "wrappers",
    "callbacks",
    "injections",
    "attachments",
    "additional_models",
)


# A value as a flat list of paths and leaves


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of a value with its path; a leaf is a tensor, an array, or something that JSON can hold."""
    if isinstance(value, (torch.Tensor, np.ndarray, str, int, float)) or value is None:
        yield path, value
    elif isinstance(value, dict):
        yield f"{path}/keys", [str(key) for key in value]
        for key, item in value.items():
            yield from leaves(item, f"{path}/{key}")
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield f"{path}/length", len(value)
        for i, item in enumerate(value):
            yield from leaves(item, f"{path}/{i}")
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from leaves(getattr(value, field.name), f"{path}/{field.name}")
    else:
        yield from object_leaves(value, path)


def object_leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The leaves of a network, of the host's holder of one, or the type and identity of anything else."""
    yield f"{path}/type", f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, torch.nn.Module):
        yield from leaves(dict(value.state_dict()), f"{path}/state_dict")
    elif hasattr(value, "model_options") and hasattr(value, "model"):
        for part in PATCHER_PARTS:
            yield from leaves(getattr(value, part), f"{path}/{part}")
        yield from object_leaves(value.model, f"{path}/model")
    elif hasattr(value, "original_conds"):  # a guider
        yield from leaves(vars(value), path)
    elif isinstance(getattr(value, "first_stage_model", None), torch.nn.Module):
        yield from object_leaves(value.first_stage_model, f"{path}/first_stage_model")
    elif isinstance(getattr(value, "model", None), torch.nn.Module):
        yield from object_leaves(value.model, f"{path}/model")
    else:
        yield f"{path}/id", id(value)


def as_array(leaf: torch.Tensor | np.ndarray) -> np.ndarray:
    """The bytes of a tensor as an array; a dtype that numpy lacks becomes its bit pattern."""
    if isinstance(leaf, np.ndarray):
        return leaf
    leaf = leaf.detach().cpu().contiguous()
    if leaf.dtype in (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2):
        leaf = leaf.view(torch.uint8)
    return leaf.numpy()


def digest(value: Any) -> str:
    """SHA-256 over all the leaves of a value."""
    found = hashlib.sha256()
    for path, leaf in leaves(value):
        found.update(path.encode())
        if isinstance(leaf, (torch.Tensor, np.ndarray)):
            found.update(f"{leaf.dtype} {tuple(leaf.shape)}".encode())
            found.update(as_array(leaf).tobytes())
        else:
            found.update(repr(leaf).encode())
    return found.hexdigest()


# Odd inputs


def value_of(spec: Any) -> Any:
    """What a JSON specification describes; a plain JSON value stands for itself."""
    match spec:
        case {"tensor": shape, **rest}:
            return filled(shape, **rest)
        case {"latent": shape, **rest}:
            return {"samples": filled(shape, **rest)}
        case {"audio": shape, "rate": rate_hz, **rest}:
            return {"waveform": filled(shape, **rest), "sample_rate": rate_hz}
        case {"conditioning": shape, **rest}:
            return [[filled(shape, **rest), {}]]
        case {"clip_vision": shape, **rest}:
            return SimpleNamespace(penultimate_hidden_states=filled(shape, **rest))
        case {"sigmas": values}:
            return torch.tensor(values, dtype=torch.float32)
        case {"box": shape, "left": left, "right": right, "value": value}:
            mask = torch.zeros(shape)  # f h w
            mask[..., left:right] = value
            return mask
        case {"nested": items}:
            return NestedTensor([value_of(item) for item in items])
        case {"vae": names}:
            return video.StrangeVae(names)
        case {"dict": items}:
            return {key: value_of(item) for key, item in items.items()}
        case {"list": items}:
            return [value_of(item) for item in items]
        case {"value": value}:
            return value
    raise ValueError(f"the probe cannot make {spec!r}")


def filled(shape: list[int], fill: str = "noise", dtype: str = "float32", **_: Any) -> torch.Tensor:
    """A tensor of that shape: noise, zeros, numbers from 0 to 1 ("unit"), or those with one bad value in the middle."""
    if fill == "zeros":
        return torch.zeros(shape, dtype=getattr(torch, dtype))
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(7))
    if fill in ("unit", "nan", "inf"):
        noise = noise.sigmoid()
    if fill in ("nan", "inf"):
        noise.view(-1)[noise.numel() // 2] = float(fill)
    return noise.to(getattr(torch, dtype))


def with_part(value: Any, path: list[str], part: Any) -> Any:
    """A copy of a value in which the part at ``path`` is another one."""
    if not path:
        return part
    key, *rest = path
    if isinstance(value, dict):
        return {**value, key: with_part(value.get(key), rest, part)}
    if isinstance(value, (list, tuple)):
        items = list(value)
        items[int(key)] = with_part(items[int(key)], rest, part)
        return type(value)(items)
    return dataclasses.replace(value, **{key: with_part(getattr(value, key), rest, part)})


# Nodes


class WanCastProbeSave(Probe):
    """Saves any value without loss."""

    INPUTS = (io.AnyType.Input("value"),)
    OUTPUTS = ()
    SHOWS = True

    @classmethod
    def execute(cls, value: Any) -> io.NodeOutput:
        arrays, tree = {}, {}
        for path, leaf in leaves(value):
            if isinstance(leaf, (torch.Tensor, np.ndarray)):
                arrays[f"array{path}"] = as_array(leaf)
                tree[f"{path}:dtype"] = str(leaf.dtype)
            else:
                tree[path] = leaf
        filename = f"probe_{uuid.uuid4().hex}.npz"
        os.makedirs(folder_paths.get_output_directory(), exist_ok=True)
        with open(os.path.join(folder_paths.get_output_directory(), filename), "xb") as file:
            np.savez(file, tree=np.array(json.dumps(tree)), **arrays)
        return io.NodeOutput(ui={"probe": [{"filename": filename, "subfolder": "", "type": "output"}]})


class WanCastProbeTensor(Probe):
    """Makes what a JSON specification describes, for any socket."""

    INPUTS = (io.String.Input("spec", multiline=True),)
    OUTPUTS = (io.AnyType.Output("value"),)

    @classmethod
    def execute(cls, spec: str) -> io.NodeOutput:
        return io.NodeOutput(value_of(json.loads(spec)))


class WanCastProbeEdit(Probe):
    """Copies a value and puts something else at one place of it."""

    INPUTS = (io.AnyType.Input("value"), io.String.Input("path"), io.String.Input("spec", multiline=True))
    OUTPUTS = (io.AnyType.Output("value"),)

    @classmethod
    def execute(cls, value: Any, path: str, spec: str) -> io.NodeOutput:
        return io.NodeOutput(with_part(value, path.split("/"), value_of(json.loads(spec))))


class WanCastProbeHash(Probe):
    """Hashes a value and hands it on; with ``after`` linked it does so after that node has run."""

    INPUTS = (io.AnyType.Input("value"), io.AnyType.Input("after", optional=True))
    OUTPUTS = (io.AnyType.Output("value"),)
    SHOWS = True

    @classmethod
    def execute(cls, value: Any, after: Any = None) -> io.NodeOutput:
        return io.NodeOutput(value, ui={"digest": [digest(value)]})


class ProbeExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        places = (globals(), *map(vars, (moe, memory, video, identity, foreign, newer_attention, watch)))
        return [node for place in places for name, node in place.items() if name.startswith("WanCastProbe")]


newer_attention.install_if_asked()


async def comfy_entrypoint() -> ProbeExtension:
    return ProbeExtension()
