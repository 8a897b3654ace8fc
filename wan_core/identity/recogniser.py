"""From aligned faces to unit vectors, whatever network does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import InputError, quoted
from ..weights import Operations, StateDict
from .ir_network import build_ir_backbone
from .recogniser_file import Normalisation
from .record import Space

CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Recogniser:
    """A network that embeds faces, ready to run, and whose vectors it makes."""

    embed_face: Callable[[Tensor], Tensor]  # one aligned face, 112 112 3 RGB in [0, 1] -> its raw embedding, 512
    space: Space
    label: str  # family and size, for a person


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """The recogniser's answer for a batch of faces."""

    unit: Tensor  # k 512, fp32, length 1
    norms: tuple[float, ...]  # lengths before normalisation; a blurred face gives a short vector


@contextmanager
def ir_recogniser(
    state_dict: StateDict,
    *,
    name: str,
    sha256: str,
    operations: Operations = nn,
    on_device: Callable[[nn.Module], AbstractContextManager[torch.device]] = lambda network: nullcontext(CPU),
) -> Iterator[Recogniser]:
    """A recogniser of the IR family while the block runs, from a file of this name and of bytes with this SHA-256.

    The host says where the network runs; raises InputError for weights of another kind. It sees pixels from -1 to 1, in
    the order of channels that its label says.
    """
    network, params = build_ir_backbone(state_dict, operations=operations)
    with on_device(network) as device:

        def embed_face(crop: Tensor) -> Tensor:
            seen = crop if params.channels == "RGB" else crop.flip(-1)
            return network(seen.movedim(-1, 0)[None].to(device, torch.float32) * 2 - 1)[0]

        yield Recogniser(embed_face, Space(name, sha256, params.family), params.label)


def iresnet_recogniser(
    run: Callable[[Tensor], Tensor], normalisation: Normalisation, *, name: str, sha256: str
) -> Recogniser:
    """An iResNet behind ``run`` (1 3 112 112 fp32 -> 1 512): it sees RGB from 0 to 255, less mean, through std."""

    def embed_face(crop: Tensor) -> Tensor:
        rgb = crop.movedim(-1, 0)[None].to("cpu", torch.float32) * 255  # 1 3 112 112
        return run(((rgb - normalisation.mean) / normalisation.std).contiguous())[0]

    return Recogniser(embed_face, Space(name, sha256, "iResNet"), "iResNet, ONNX")


def embed(recogniser: Recogniser, crops: Tensor, on_face: Callable[[int], None] = lambda done: None) -> Embeddings:
    """Embeds aligned faces, k 112 112 3 RGB in [0, 1], one at a time so that a face never depends on its batch."""
    raw = []
    for index, crop in enumerate(crops):
        raw.append(recogniser.embed_face(crop).float())  # 512
        on_face(index + 1)
    vectors = torch.stack(raw)  # k 512
    norms = tuple(vectors.norm(dim=-1).tolist())
    for number, norm in enumerate(norms, start=1):
        if not 0 < norm < float("inf"):
            raise InputError(
                "encoder",
                found=f"an embedding of length {norm:g} from {quoted(recogniser.space.name)} for face {number}",
                wanted="finite embeddings",
                fix="The weight file is damaged, or not a recogniser: pick another one.",
            )
    return Embeddings(functional.normalize(vectors, dim=-1).to(crops.device), norms)
