"""Probes for decoding to video: a VAE that fails half way, one of chosen weight names, and a count of live tensors."""

from __future__ import annotations

import copy
import gc
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import comfy.sd
import torch
from comfy_api.latest import io
from comfy_execution.graph_utils import GraphBuilder

from .probe import FreshProbe, Probe

FAULTS = ("none", "nan", "encoder", "size")


class FaultyNetwork:
    """The network of a VAE whose decoder is a faulty one."""

    def __init__(self, network: torch.nn.Module, *fault: Any) -> None:
        self.named_parameters, self.modules, self.conv2 = network.named_parameters, network.modules, network.conv2
        self.decoder = FaultyDecoder(network.decoder, *fault)


class FaultyDecoder:
    """A decoder that waits before each call and has a fault from one call on; as a walk through its modules begins with
    the entry convolution, that counts as a call too."""

    def __init__(self, decoder: torch.nn.Module, fault: str, from_call: int, pause_s: float) -> None:
        self._decoder, self._fault, self._from_call, self._pause_s = decoder, fault, from_call, pause_s
        self._calls, self._has_broken = 0, False
        self.conv1 = CountedEntry(decoder.conv1, self._count)
        self.middle, self.upsamples, self.head = decoder.middle, decoder.upsamples, (*decoder.head, self._spoilt)

    def __call__(self, x: torch.Tensor, **cache: Any) -> Any:
        self._count()
        decoded = self._decoder(x, **cache)
        if isinstance(decoded, list):  # Wan2.1 gives a list of pieces, Wan2.2 one
            return [self._spoilt(piece) for piece in decoded]
        return self._spoilt(decoded)

    def _count(self) -> None:
        self._calls += 1
        time.sleep(self._pause_s)

    def _spoilt(self, piece: torch.Tensor) -> torch.Tensor:
        if self._calls < self._from_call or self._fault == "none":
            return piece
        if self._fault == "encoder":
            if not self._has_broken:  # a second time, the next run's encoder might be the one that breaks
                break_encoder()
            self._has_broken = True
            return piece
        if self._fault == "size":
            return piece[..., :-2]
        piece = piece.clone()
        piece[..., -1, -1] = float("nan")
        return piece


class CountedEntry:
    """A convolution that tells when it is called."""

    def __init__(self, conv: torch.nn.Module, tell: Callable[[], None]) -> None:
        self._conv, self._tell, self.kernel_size = conv, tell, conv.kernel_size

    def __call__(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        self._tell()
        return self._conv(*args, **kwargs)


def break_encoder() -> None:
    """Makes the next picture that the thread of a video file takes fail, as an encoder would."""
    (module,) = (each for name, each in sys.modules.items() if name.endswith("wan_core.media.container"))
    intact = module.encodable

    def broken(*_: Any) -> None:
        module.encodable = intact
        raise ValueError("the encoder broke")

    if intact.__name__ != broken.__name__:
        module.encodable = broken


class WanCastProbeFaultyVae(FreshProbe):
    """A VAE that decodes slowly, or wrongly from one call of its decoder on."""

    INPUTS = (
        io.Vae.Input("vae"),
        io.Combo.Input("fault", options=list(FAULTS), default="none"),
        io.Int.Input("from_call", default=1, min=1, max=10**6),
        io.Float.Input("pause_s", default=0.0, min=0.0, max=10.0, step=0.001),
    )
    OUTPUTS = (io.Vae.Output("vae"),)

    @classmethod
    def execute(cls, vae: Any, fault: str, from_call: int, pause_s: float) -> io.NodeOutput:
        faulty = copy.copy(vae)
        faulty.first_stage_model = FaultyNetwork(vae.first_stage_model, fault, from_call, pause_s)
        return io.NodeOutput(faulty)


class StrangeNetwork:
    """A network of which only the names of its weights are known."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def named_parameters(self) -> Iterator[tuple[str, torch.Tensor]]:
        return ((name, torch.zeros(1)) for name in self._names)


class StrangeVae:
    """A VAE with weights of chosen names."""

    def __init__(self, names: list[str]) -> None:
        self.first_stage_model = StrangeNetwork(names)


REAL_SIZES = {  # what the host's loader tells the two kinds apart by, in their real widths
    "2.1": {
        "decoder.middle.0.residual.0.gamma": (384, 1, 1, 1),
        "decoder.head.0.gamma": (96, 1, 1, 1),
        "decoder.head.2.weight": (3, 96, 3, 3, 3),
        "encoder.conv1.weight": (96, 3, 3, 3, 3),
    },
    "2.2": {
        "decoder.middle.0.residual.0.gamma": (1024, 1, 1, 1),
        "decoder.upsamples.0.upsamples.0.residual.2.weight": (1024, 1024, 3, 3, 3),
    },
}
REPEATED = 2**20 - 3  # random numbers; odd, so that no two filters are the same


class WanCastProbeRandomVae(Probe):
    """A VAE of the real size with random weights, as the host's loader makes it."""

    INPUTS = (
        io.Combo.Input("kind", options=list(REAL_SIZES)),
        io.Combo.Input("dtype", options=["float32", "bfloat16"]),
    )
    OUTPUTS = (io.Vae.Output("vae"),)

    @classmethod
    def execute(cls, kind: str, dtype: str) -> io.NodeOutput:
        marks = {name: torch.zeros(shape) for name, shape in REAL_SIZES[kind].items()}
        vae = comfy.sd.VAE(sd=marks, dtype=getattr(torch, dtype))
        noise = torch.randn(REPEATED, generator=torch.Generator().manual_seed(0))
        for name, weight in vae.first_stage_model.named_parameters():
            if name.startswith(("decoder.", "conv2.")):
                fill(weight, noise, is_scale=name.endswith("gamma"))
        return io.NodeOutput(vae)


def fill(weight: torch.Tensor, noise: torch.Tensor, *, is_scale: bool) -> None:
    """Weights that keep what goes through them at about its size."""
    if is_scale:
        weight.fill_(1.0)
        return
    spread = weight[0].numel() ** -0.5 if weight.ndim > 1 else 0.01
    for part in weight.view(-1).split(len(noise)):
        part.copy_(noise[: len(part)]).mul_(spread)


class WanCastProbeDecodes(Probe):
    """Makes a decode node while it runs, as a loop does."""

    INPUTS = (
        io.Latent.Input("samples", raw_link=True),
        io.Vae.Input("vae", raw_link=True),
        io.String.Input("tiling"),
    )
    OUTPUTS = (io.Image.Output("images"),)

    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = super().define_schema()
        schema.enable_expand = True
        return schema

    @classmethod
    def execute(cls, **inputs: Any) -> io.NodeOutput:
        graph = GraphBuilder()
        made = graph.node("HighCompressionVAEDecode", **inputs)
        return io.NodeOutput(made.out(0), expand=graph.finalize())


class WanCastProbeSwitches(FreshProbe):
    """Sends how many layers of a VAE are switched to cast their weights, after another node has run."""

    INPUTS = (io.Vae.Input("vae"), io.AnyType.Input("after"))
    OUTPUTS = ()
    SHOWS = True

    @classmethod
    def execute(cls, vae: Any, after: Any) -> io.NodeOutput:
        layers = [each for each in vae.first_stage_model.modules() if hasattr(each, "comfy_cast_weights")]
        return io.NodeOutput(ui={"on": [sum(each.comfy_cast_weights for each in layers)], "layers": [len(layers)]})


class WanCastProbeTensors(FreshProbe):
    """Sends how many tensors live in the host and their bytes to the user interface after another node has run."""

    INPUTS = (io.AnyType.Input("after"),)
    OUTPUTS = ()
    SHOWS = True

    @classmethod
    def execute(cls, after: Any) -> io.NodeOutput:
        gc.collect()
        tensors = [each for each in gc.get_objects() if issubclass(type(each), torch.Tensor)]
        storages = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in tensors}
        live = {"tensors": len(tensors), "bytes": sum(storages.values())}
        return io.NodeOutput(ui={"live": [json.dumps(live)]})
