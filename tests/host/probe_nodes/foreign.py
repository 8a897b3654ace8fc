"""Probes that treat a model as other packs do: attention overrides, NAG, offloading, types, compiling, a fault."""

from __future__ import annotations

import copy
import importlib
import json
import uuid
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from weakref import finalize

import comfy.clip_vision
import comfy.ldm.modules.attention
import comfy.ldm.wan.model
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import torch
from comfy.patcher_extension import WrappersMP
from comfy_api.latest import io
from comfy_api.torch_helpers import set_torch_compile_wrapper
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

import nodes

from .probe import FreshProbe, Probe

SIZES = ("in_dim", "dim", "ffn_dim", "freq_dim", "text_dim", "out_dim", "num_heads", "num_layers")  # of the host's Wan
LOW_VRAM_BYTES = 400_000  # of a miniature's 2.3 MB


# Attention


def call_attention(attention: Callable[..., Tensor], *args: Any, **named: Any) -> Tensor:
    """An override that works on what the attention that it is given returns."""
    return 0.9 * attention(*args, **named)


def replace_attention(
    _: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, heads: int, *args: Any, **named: Any
) -> Tensor:
    """An override that computes attention itself, as those of faster kernels do; with a scale of its own."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    return scaled_dot_product_attention(q, k, v, scale=0.8 * q.shape[-1] ** -0.5).transpose(1, 2).flatten(2)


def replace_boxed_attention(q: Any, k: Any, v: Any, heads: int, **named: Any) -> Tensor:
    """The same of boxes, on hosts that have them."""
    return replace_attention(scaled_dot_product_attention, q.take(), k.take(), v.take(), heads, **named)


replace_attention.container_function = replace_boxed_attention


class WanCastProbeOverride(Probe):
    """A model with an attention override in the one slot that the host has for it."""

    INPUTS = (*Probe.INPUTS, io.Combo.Input("kind", options=["call", "replace"]))

    @classmethod
    def execute(cls, model: Any, kind: str) -> io.NodeOutput:
        model = model.clone()
        override = {"call": call_attention, "replace": replace_attention}[kind]
        model.model_options["transformer_options"]["optimized_attention_override"] = override
        return io.NodeOutput(model)


class WanCastProbeObjectPatch(Probe):
    """A model in which another forward replaces that of one layer of values; its weights stay."""

    INPUTS = (*Probe.INPUTS, io.Float.Input("scale", default=1.5, min=0.0, max=10.0, step=0.1))

    @classmethod
    def execute(cls, model: Any, scale: float) -> io.NodeOutput:
        model = model.clone()
        layer = model.get_model_object("diffusion_model.blocks.0.self_attn.v")
        forward = type(layer).forward.__get__(layer)
        model.add_object_patch("diffusion_model.blocks.0.self_attn.v.forward", lambda x: scale * forward(x))
        return io.NodeOutput(model)


class Nag:
    """Cross-attention that guides away from a second text inside of each block, after KJNodes' NAG."""

    def __init__(self, cross: Any, scale: float, text: Tensor) -> None:
        self.cross, self.scale, self.text = cross, scale, text

    def __call__(self, x: Tensor, context: Tensor, transformer_options: dict[str, Any] = {}, **_: Any) -> Tensor:  # noqa: B006
        cross = self.cross
        q = cross.norm_q(cross.q(x))

        def attend(text: Tensor) -> Tensor:
            k, v = cross.norm_k(cross.k(text)), cross.v(text)
            return comfy.ldm.modules.attention.optimized_attention(
                q, k, v, heads=cross.num_heads, transformer_options=transformer_options
            )

        text = self.text[:, : context.shape[1]].to(context).expand(len(x), -1, -1)
        return cross.o(self.scale * attend(context) - (self.scale - 1.0) * attend(text))


class WanCastProbeNag(Probe):
    """A model whose cross-attentions are replaced by ones that call attention twice."""

    INPUTS = (*Probe.INPUTS, io.Float.Input("scale", default=2.0, min=1.0, max=20.0))

    @classmethod
    def execute(cls, model: Any, scale: float) -> io.NodeOutput:
        model = model.clone()
        wan = model.get_model_object("diffusion_model")
        text = torch.randn(1, 512, wan.dim, generator=torch.Generator().manual_seed(3))
        for index, block in enumerate(wan.blocks):
            name = f"diffusion_model.blocks.{index}.cross_attn.forward"
            model.add_object_patch(name, Nag(block.cross_attn, scale, text))
        return io.NodeOutput(model)


# Networks


class TwoBranchWan(comfy.ldm.wan.model.WanModel):
    """Each block runs for another stream before it runs for the video, as in Wan-Animate-2."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for block in self.blocks:
            block.register_forward_pre_hook(self.run_other_stream, with_kwargs=True)

    @staticmethod
    def run_other_stream(block: Any, args: tuple[Tensor], named: dict[str, Any]) -> None:
        block.forward(args[0].flip(1), **named)


class WanCastProbeRelative(Probe):
    """A model whose network is a relative of its own: the same blocks, what else it has made up, and inputs made up."""

    INPUTS = (*Probe.INPUTS, io.String.Input("network"), io.String.Input("shapes"))

    @classmethod
    def execute(cls, model: Any, network: str, shapes: str) -> io.NodeOutput:
        module, _, name = network.rpartition(".")
        module = module or __name__
        plain, draw = model.get_model_object("diffusion_model"), torch.Generator().manual_seed(5)
        sizes = {size: getattr(plain, size) for size in SIZES}
        kind = getattr(importlib.import_module(module), name)
        relative = kind(**sizes, dtype=torch.float32, device="cpu", operations=comfy.ops.manual_cast)
        for parameter in relative.parameters():
            parameter.data = 0.05 * torch.randn(parameter.shape, generator=draw)
        relative.load_state_dict(plain.state_dict(), strict=False)
        inner = copy.copy(model.model)
        inner._modules = {**inner._modules, "diffusion_model": relative}
        given = {name: torch.randn(shape, generator=draw) for name, shape in json.loads(shapes).items()}

        def with_inputs(executor: Callable[..., Tensor], x: Tensor, *args: Any, **named: Any) -> Tensor:
            return executor(x, *args, **named, **{n: t.expand(len(x), *t.shape[1:]) for n, t in given.items()})

        model = comfy.model_patcher.CoreModelPatcher(inner, model.load_device, model.offload_device)
        model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "wancast_probe_inputs", with_inputs)
        return io.NodeOutput(model)


# Weights


class WanCastProbeLowVram(Probe):
    """A model that is never loaded whole: most layers are cast, and patched, each time they are used."""

    @classmethod
    def execute(cls, model: Any) -> io.NodeOutput:
        model = model.clone(disable_dynamic=True)
        kind = type(model)

        class LowVram(kind):
            def load(self, device_to: Any = None, **named: Any) -> Any:
                limits = {"lowvram_model_memory": LOW_VRAM_BYTES, "full_load": False}
                done = super().load(device_to, **named | limits)
                if not self.model.model_lowvram:
                    raise RuntimeError("the model fitted")
                return done

        model.__class__ = LowVram
        model.patches_uuid = uuid.uuid4()  # so that the host loads it anew
        return io.NodeOutput(model)


class WanCastProbeComputeType(Probe):
    """A model that computes in another type."""

    INPUTS = (*Probe.INPUTS, io.Combo.Input("dtype", options=["bfloat16", "float32"]))

    @classmethod
    def execute(cls, model: Any, dtype: str) -> io.NodeOutput:
        model = model.clone()
        model.set_model_compute_dtype(getattr(torch, dtype))
        return io.NodeOutput(model)


# Inputs


class WanCastProbeClipPicture(Probe):
    """A conditioning with what a CLIP vision model says of a picture, made up."""

    INPUTS = (io.Conditioning.Input("conditioning"),)
    OUTPUTS = (io.Conditioning.Output("conditioning"),)

    @classmethod
    def execute(cls, conditioning: Any) -> io.NodeOutput:
        seen = comfy.clip_vision.Output()
        seen.penultimate_hidden_states = torch.randn(1, 257, 1280, generator=torch.Generator().manual_seed(4))
        return io.NodeOutput([[text, {**more, "clip_vision_output": seen}] for text, more in conditioning])


# Running


class WanCastProbeForeignVae(Probe):
    """A VAE as another pack makes it, which has the parts of the host's and is none of its class."""

    INPUTS = (io.Vae.Input("vae"), io.Boolean.Input("encodes"))
    OUTPUTS = (io.Vae.Output("vae"),)

    @classmethod
    def execute(cls, vae: Any, encodes: bool) -> io.NodeOutput:
        own = {"encode": vae.encode} if encodes else {}
        return io.NodeOutput(SimpleNamespace(first_stage_model=vae.first_stage_model, **own))


class WanCastProbeKept(FreshProbe):
    """Sends what identities keep to the user interface, once others needed the memory.

    That are the bytes of keys and values, and the number of those who wait for this model to go.
    """

    INPUTS = (*Probe.INPUTS, io.Boolean.Input("unload"))
    OUTPUTS = ()
    SHOWS = True

    @classmethod
    def execute(cls, model: Any, unload: bool) -> io.NodeOutput:
        if unload:
            comfy.model_management.unload_all_models()
        cache = nodes.NODE_CLASS_MAPPINGS["IDLock"].locker.cache
        entries = (*cache._on_device.values(), *cache._in_ram.values())
        kept_bytes = sum(k.nbytes + v.nbytes for entry in entries for k, v in entry.values())
        waiting = [found[:2] for found in map(finalize.peek, list(finalize._registry)) if found is not None]
        return io.NodeOutput(ui={"kept": [kept_bytes], "waiting": [waiting.count((model.model, cache.drop_gone))]})


class WanCastProbeCompile(Probe):
    """A model as TorchCompileModel makes it, with a backend that needs no compiler."""

    @classmethod
    def execute(cls, model: Any) -> io.NodeOutput:
        model = model.clone(disable_dynamic=True)
        set_torch_compile_wrapper(model=model, backend="eager")
        return io.NodeOutput(model)


class WanCastProbeRaise(FreshProbe):
    """A model that fails in the middle of a block, when the block runs for the nth time for whatever stream."""

    INPUTS = (*Probe.INPUTS, io.Int.Input("block", default=0, min=0), io.Int.Input("at_call", default=1, min=1))

    @classmethod
    def execute(cls, model: Any, block: int, at_call: int) -> io.NodeOutput:
        model, calls = model.clone(), 0
        intact = model.get_model_object("diffusion_model").blocks[block].norm2.forward

        def failing(x: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            if calls == at_call:
                raise RuntimeError(f"block {block} failed at call {at_call}")
            return intact(x)

        model.add_object_patch(f"diffusion_model.blocks.{block}.norm2.forward", failing)
        return io.NodeOutput(model)
