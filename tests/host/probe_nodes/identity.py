"""Models with an identity that is computed in plain torch, identities made up from a seed, and one forward pass."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import comfy.ldm.modules.attention
import comfy.samplers
import folder_paths
import torch
from comfy.patcher_extension import WrappersMP
from comfy_api.latest import io
from torch import Tensor
from torch.nn.functional import interpolate

from .probe import Probe
from .two_stream import Pass, Person, by_block, pass_of, read, resampled

KEY = "wancast_probe_oracle"
GREY = 0.5
RECOGNISER = "mini_ir_se.safetensors"  # whose vectors the made-up ones are said to be

encoded: dict[str, Tensor] = {}  # latents of the few pictures that the tests use, by their hash


# Persons in a model


class Oracle:
    """A wrapper that gives the attentions of each block another forward for as long as the pass runs.

    It keeps whatever else a model or another node does, and every call of attention goes through the host's own.
    """

    def __init__(self, persons: list[Person]) -> None:
        self.persons = persons

    def __call__(self, executor: Any, x: Tensor, *args: Any, **extra: Any) -> Tensor:
        wan = executor.class_obj
        now = pass_of(wan, self.persons, x, args[-1])
        if now and type(wan).__name__ in ("SCAILWanModel", "SCAIL2WanModel"):
            now.before = now.tokens // x.shape[2] * extra["reference_latent"].shape[2]
        with ExitStack() as stack:
            for index, block in enumerate(wan.blocks if now else []):
                own, cross = block.self_attn, block.cross_attn
                for module, other in (
                    (own, self_attention(own, now, index)),
                    (cross, cross_attention(cross, cross.forward, now, index)),
                ):
                    stack.enter_context(mock.patch.object(module, "forward", other))
            return executor(x, *args, **extra)


def self_attention(own: Any, now: Pass, block: int) -> Callable[..., Tensor]:
    """Self-attention with the portraits in it and the references beside it, before the output layer."""

    def forward(x: Tensor, freqs: Tensor, transformer_options: dict[str, Any]) -> Tensor:
        q, k, v = own.norm_q(own.q(x)), own.norm_k(own.k(x)), own.v(x)
        done = []
        for row in range(len(x)):
            turned, keys = (matrices_applied(vectors[row], freqs, own.num_heads) for vectors in (q, k))

            def run(k: Tensor, v: Tensor, turned: Tensor = turned) -> Tensor:
                call = {"heads": own.num_heads, "preferred_attention": getattr(own, "comfy_attention", None)}
                return comfy.ldm.modules.attention.optimized_attention(
                    turned[None], k[None], v[None], transformer_options=transformer_options, **call
                )[0]

            y = now.inside(block, row, keys, v[row], run)
            done.append(y + now.beside(now.ref, "ref_strength", block, row, q[row]))
        return own.o(torch.stack(done))

    return forward


def matrices_applied(x: Tensor, freqs: Tensor, heads: int) -> Tensor:
    """x (n d) turned by the 2 x 2 matrices that the model made for it, 1 n 1 d/2 2 2."""
    pairs = x.reshape(len(x), heads, -1, 2, 1).to(freqs.dtype)
    return (freqs[0] @ pairs).reshape(x.shape).to(x.dtype)


def cross_attention(cross: Any, inner: Callable[..., Tensor], now: Pass, block: int) -> Callable[..., Tensor]:
    """Whatever cross-attention the model has, and the term beside it: o(a + t) = o(a) + o(t) - o(0)."""

    def forward(x: Tensor, context: Tensor, **named: Any) -> Tensor:
        q = cross.norm_q(cross.q(x))
        terms = [now.beside(now.text, "strength", block, row, q[row]) for row in range(len(x))]
        terms = torch.stack([torch.zeros_like(x[0]) + term for term in terms])
        return inner(x, context, **named) + cross.o(terms) - cross.o(torch.zeros_like(terms[:1]))

    return forward


class WanCastProbeOracle(Probe):
    """A model with an identity in it, computed slowly; the specification names IDLock's inputs and the weight files."""

    INPUTS = (
        *Probe.INPUTS,
        io.AnyType.Input("identity"),
        io.String.Input("spec", multiline=True),
        io.Vae.Input("vae", optional=True),
        io.Conditioning.Input("ref_text", optional=True),
        io.Mask.Input("mask", optional=True),
    )

    @classmethod
    def execute(cls, model: Any, identity: Any, spec: str, **parts: Any) -> io.NodeOutput:
        model = model.clone()
        person = person_of(model, identity, json.loads(spec), **parts)
        earlier = model.get_wrappers(WrappersMP.DIFFUSION_MODEL, KEY)
        persons = [*(earlier[0].persons if earlier else []), person]
        model.remove_wrappers_with_key(WrappersMP.DIFFUSION_MODEL, KEY)
        model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, KEY, Oracle(persons))
        return io.NodeOutput(model)


def person_of(
    model: Any, identity: Any, spec: dict[str, Any], vae: Any = None, ref_text: Any = None, mask: Tensor | None = None
) -> Person:
    """What the oracle needs of an identity and the weight files."""

    def latent(picture: Tensor) -> Tensor:
        key = hashlib.sha256(picture.numpy().tobytes()).hexdigest()
        if key not in encoded:
            encoded[key] = model.model.process_latent_in(vae.encode(picture[None]))[0].float()  # c 1 h w
        return encoded[key]

    def weights(slot: str) -> dict[int, dict[str, Tensor]]:
        return by_block(spec[slot]) if spec.get(slot) else {}

    sampling = model.get_model_object("model_sampling")
    ip, ref, stand_in = weights("ip_layers"), weights("ref_layers"), weights("stand_in")
    tokens: tuple[Tensor, ...] = ()
    if ip:
        network = read(spec["resampler"])
        tokens = tuple(resampled(network, strength * identity.embeddings) for strength in (1, 0))
    crop = identity.reference_crop
    every = sorted({*ip, *ref, *stand_in})
    return Person(
        ip=ip,
        tokens=tokens,
        ref=ref,
        ref_latents=(latent(crop), latent(torch.full_like(crop, GREY))) if ref else (),
        ref_text=ref_text[0][0][0] if ref else None,
        stand_in=stand_in,
        portrait=latent(identity.portrait) if stand_in else None,
        strength=spec.get("strength", 1.0),
        ref_strength=spec.get("ref_strength", 1.0),
        blocks=spec.get("block_list", every),
        first_sigma=float(sampling.percent_to_sigma(spec.get("start_percent", 0.0))),
        last_sigma=float(sampling.percent_to_sigma(spec.get("end_percent", 1.0))),
        apply_to=spec.get("apply_to", "auto"),
        mask=mask,
        frame_weights=spec.get("frame_weights", ""),
    )


# Identities and passes to compare


class WanCastProbeIdentity(Probe):
    """An identity with everything that an adapter can read, made up from a seed."""

    INPUTS = (io.Int.Input("seed", default=0), io.Int.Input("references", default=1, min=1))
    OUTPUTS = (io.AnyType.Output("identity"),)

    @classmethod
    def execute(cls, seed: int, references: int) -> io.NodeOutput:
        (record,) = (module for name, module in sys.modules.items() if name.endswith("wan_core.identity.record"))
        file = Path(folder_paths.get_full_path_or_raise("face_recognition", RECOGNISER))
        generator = torch.Generator().manual_seed(seed)
        vectors = torch.randn(references, 512, generator=generator)
        vectors = vectors / vectors.norm(dim=1, keepdim=True)

        def picture(side_px: int) -> Tensor:
            coarse = torch.rand(1, 3, 8, 8, generator=generator)
            return interpolate(coarse, size=(side_px, side_px), mode="bilinear")[0].movedim(0, -1).contiguous()

        attributes = record.Attributes(None, None, None, None, None, None, 112.0, 1.0)
        identity = record.Identity(
            z=vectors[0],
            references=vectors,
            embeddings=vectors,
            crops=torch.zeros(references, 112, 112, 3),
            reference_crop=picture(256),
            portrait=picture(512),
            attributes=(attributes,) * references,
            space=record.Space(RECOGNISER, hashlib.sha256(file.read_bytes()).hexdigest(), "IR-SE"),
        )
        return io.NodeOutput(identity)


class WanCastProbeNothing(Probe):
    """A list with nothing in it."""

    INPUTS = ()
    OUTPUTS = (io.AnyType.Output("nothing", is_output_list=True),)

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput([])


class OneCall(comfy.samplers.Sampler):
    """A sampler that evaluates the model once, at the first sigma of its schedule."""

    def __init__(self) -> None:
        self.found: list[Tensor] = []

    def sample(self, model_wrap: Any, sigmas: Tensor, extra_args: dict[str, Any], *args: Any) -> Tensor:
        _, noise, latent_image, _, _ = args
        x = model_wrap.inner_model.model_sampling.noise_scaling(sigmas[0], noise, latent_image)

        def keep(seen: dict[str, Any]) -> Tensor:
            sides = (seen["cond_denoised"], seen["uncond_denoised"], seen["denoised"])
            self.found = [((x - side).double() / sigmas[0].double()).float() for side in sides if side is not None]
            return seen["denoised"]

        options = extra_args["model_options"]
        options["sampler_post_cfg_function"] = [*options.get("sampler_post_cfg_function", []), keep]
        model_wrap(x, sigmas[0] * x.new_ones(len(x)), **extra_args)
        return x


class WanCastProbeForward(Probe):
    """The model's velocities at one sigma: for the positive and the negative prompt, and with guidance."""

    INPUTS = (
        *Probe.INPUTS,
        io.Conditioning.Input("positive"),
        io.Conditioning.Input("negative"),
        io.Latent.Input("latent_image"),
        io.Float.Input("sigma", default=0.9, min=0.0, max=1.0, step=1e-6),
        io.Float.Input("cfg", default=3.0, min=0.0, max=100.0, step=1e-3),
    )
    OUTPUTS = (io.Latent.Output("velocities"), io.Latent.Output("guided"))

    @classmethod
    def execute(
        cls, model: Any, positive: Any, negative: Any, latent_image: dict[str, Tensor], sigma: float, cfg: float
    ) -> io.NodeOutput:
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(positive, negative)
        guider.set_cfg(cfg)
        latent, call = latent_image["samples"], OneCall()
        noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(1))
        guider.sample(noise, latent, call, torch.tensor([sigma, 0.0]), seed=1)
        *sides, guided = call.found
        return io.NodeOutput({"samples": torch.stack(sides)}, {"samples": guided})
