"""IDLock: a model that keeps one person's face."""

from __future__ import annotations

import logging
from typing import Any

import torch
from comfy_api.latest import io

from ..wan_core.adapters.adapter import Adapter
from ..wan_core.adapters.lock import APPLY_TO, KEPT_AS, IpTerm, Lock, RefTerm, StandInTerm
from ..wan_core.adapters.lock_report import lock_lines
from ..wan_core.adapters.lynx import MODEL as BY_MODEL
from ..wan_core.adapters.selection import (
    checked_mask,
    parse_blocks,
    require_expert,
    require_guidance,
    require_layout,
    require_one_text,
    require_percents,
    require_pictures,
    require_space,
    require_strength,
    require_vectors,
    require_width,
)
from ..wan_core.adapters.tokens import parse_frame_weights
from ..wan_core.checks import checked_kind, require_choice, require_conditioning
from ..wan_core.identity.record import Identity
from ..wan_core.weights import level_in_name
from .host import locks, models
from .types import WanIdAdapter, WanIdentity, names_its_errors

GREY = 0.5  # Lynx's picture of nobody
NOT_ACTING = "the model stays as it was: no part of the adapter acts (strength 0, or an empty range)"

log = logging.getLogger(__name__)


class IDLock(io.ComfyNode):
    """Puts an identity into a Wan model."""

    NODE_ID = "IDLock"

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=cls.NODE_ID,
            display_name="ID Lock",
            category="WanCast/identity",
            description="Makes a Wan model show one person. Use it on the high-noise and on the low-noise model.",
            search_aliases=["lynx", "stand-in", "face lock", "identity", "character consistency", "ip adapter"],
            inputs=[
                io.Model.Input("model", tooltip="A Wan model; one of the two experts, or a single model."),
                WanIdentity.Input("identity", tooltip="The person, from IdentityEncode."),
                WanIdAdapter.Input("adapter", tooltip="The weights, from WanCast Adapter Loader."),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="How strongly the portrait (Stand-In) and the identity tokens (Lynx) act. "
                    "Adapters are trained with 1; at 0 they do nothing. Reference layers have ref_strength.",
                ),
                io.Float.Input(
                    "start_percent",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Where in the noise schedule the identity begins to act; 0 is pure noise.",
                ),
                io.Float.Input(
                    "end_percent",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Where it stops; 1 is the finished picture. Equal to start_percent: it never acts.",
                ),
                io.String.Input(
                    "blocks",
                    default="all",
                    tooltip='The model\'s blocks in which it acts: "all", or numbers and ranges like "0-19, 25". '
                    "A range takes the blocks in it that the adapter has weights for.",
                ),
                *_finer_inputs(),
            ],
            outputs=[
                io.Model.Output("model", tooltip="The model with the identity in it. IDLocks can be chained."),
                io.String.Output("report", tooltip="What acts where, and the memory that it keeps."),
            ],
        )

    @classmethod
    @names_its_errors
    def execute(
        cls,
        model: io.Model.Type,
        identity: Identity,
        adapter: Adapter,
        strength: float,
        start_percent: float,
        end_percent: float,
        blocks: str,
        ref_strength: float = 1.0,
        apply_to: str = APPLY_TO[0],
        identity_guidance: float = 0.0,
        frame_weights: str = "",
        mask: torch.Tensor | None = None,
        vae: Any = None,
        ref_text: Any = None,
        kept_as: str = KEPT_AS[0],
    ) -> io.NodeOutput:
        checked_kind(identity, Identity, name="identity", maker="IdentityEncode")
        checked_kind(adapter, Adapter, name="adapter", maker="WanCastAdapterLoader")
        require_strength("strength", strength)
        require_strength("ref_strength", ref_strength)
        require_percents(start_percent, end_percent)
        require_choice(apply_to, APPLY_TO, name="apply_to")
        require_choice(kept_as, KEPT_AS, name="kept_as")
        mask = None if mask is None else checked_mask(mask)
        models.require_single(model, input_name="model")
        wan = models.wan_params(model)
        require_width(adapter.width_d, wan.width_d)
        keyframes = parse_frame_weights(frame_weights)
        has_strength = {"ip": strength, "stand_in": strength, "ref": ref_strength}
        acting = {name for name, amount in has_strength.items() if amount and getattr(adapter.network, name)}
        own_blocks = sorted({block for name in acting for block in getattr(adapter.network, name).blocks})
        chosen = parse_blocks(blocks, adapter_blocks=own_blocks or adapter.blocks, model_blocks=wan.blocks)
        if not acting or start_percent == end_percent:
            return io.NodeOutput(model.clone(), NOT_ACTING)
        _require_parts(acting, identity, adapter, vae, ref_text)
        _require_model(acting, model, wan, adapter, has_places=mask is not None or bool(keyframes))
        ref = _ref_term(model, adapter, identity, vae, ref_text, wan.text_d) if "ref" in acting else None
        stand_in = _stand_in_term(model, adapter, identity, vae) if "stand_in" in acting else None
        read = [*((ref.latents, ref.text) if ref else ()), *((stand_in.latent,) if stand_in else ())]
        lock = Lock(
            content=(adapter.content_sha256, identity.content_sha256, locks.content_of(*read)),
            ip=_ip_term(adapter, identity) if "ip" in acting else None,
            ref=ref,
            stand_in=stand_in,
            strength=strength,
            ref_strength=ref_strength,
            blocks=chosen,
            start_percent=start_percent,
            end_percent=end_percent,
            apply_to=apply_to,
            mask=mask,
            frame_weights=keyframes,
            kept_as=kept_as,
        )
        require_guidance(identity_guidance, differs_by_prompt=lock.differs_by_prompt)
        locked = locks.with_lock(model, lock, adapter.patcher, identity_guidance=identity_guidance)
        lines = lock_lines(lock, locked.locks, adapter.label, width_d=wan.width_d, model_blocks=wan.blocks)
        for line in lines:
            if line.startswith("note"):
                log.warning("IDLock: %s", line)
        return io.NodeOutput(locked.model, "\n".join(lines))


def _finer_inputs() -> list[Any]:
    return [
        io.Float.Input(
            "ref_strength",
            default=1.0,
            min=0.0,
            max=2.0,
            step=0.05,
            optional=True,
            tooltip="How strongly Lynx's reference layers act. Without them it changes nothing.",
        ),
        io.Combo.Input(
            "apply_to",
            options=list(APPLY_TO),
            default=APPLY_TO[0],
            optional=True,
            tooltip="Which prompts get the person. auto, as the adapters were made: Stand-In both; Lynx the positive "
            "one, and nobody's identity the negative one.",
        ),
        io.Float.Input(
            "identity_guidance",
            default=0.0,
            min=0.0,
            max=20.0,
            step=0.1,
            optional=True,
            tooltip="A guidance scale for the identity, apart from cfg; 0 is off. It needs one more evaluation a "
            "step. Lynx used 2 with a cfg of 5.",
        ),
        io.String.Input(
            "frame_weights",
            default="",
            optional=True,
            tooltip='Weight by frame of the video, as in "0:1, 40:0.5"; linear between them. Empty: 1 throughout.',
        ),
        io.Mask.Input(
            "mask",
            optional=True,
            tooltip="Where in the picture the person is: one mask, or one for each frame, as wide and high as the "
            "video. Several persons: one ID Lock with a mask for each.",
        ),
        io.Vae.Input(
            "vae",
            optional=True,
            tooltip="The model's VAE; Stand-In and Lynx's reference layers read pictures.",
        ),
        io.Conditioning.Input(
            "ref_text",
            optional=True,
            tooltip='The text "image of a face", encoded; only Lynx\'s reference layers need it.',
        ),
        io.Combo.Input(
            "kept_as",
            options=list(KEPT_AS),
            default=KEPT_AS[0],
            optional=True,
            tooltip="The type in which keys and values of the identity are kept. fp8 halves their memory and is no "
            "longer exact.",
        ),
    ]


def _require_parts(acting: set[str], identity: Identity, adapter: Adapter, vae: Any, ref_text: Any) -> None:
    if "ip" in acting:
        require_vectors(len(identity.embeddings))
        space = identity.space
        require_space(adapter.space_sha256, family=space.family, name=space.name, sha256=space.sha256)
    require_pictures(
        needs_portrait="stand_in" in acting,
        needs_reference="ref" in acting,
        has_portrait=identity.portrait is not None,
        has_reference=identity.reference_crop is not None,
        has_vae=vae is not None,
        has_text=ref_text is not None,
    )


def _require_model(
    acting: set[str], model: io.Model.Type, wan: models.WanParams, adapter: Adapter, *, has_places: bool
) -> None:
    if "stand_in" in acting:
        require_expert(adapter.stand_in_expert, level_in_name(models.file_of(model)))
    needs = [
        words
        for words, is_used in (("masks and frame weights", has_places), ("ref_layers", "ref" in acting))
        if is_used
    ]
    require_layout(wan.network, is_plain=wan.has_plain_layout, needs=needs)


def _ip_term(adapter: Adapter, identity: Identity) -> IpTerm:
    keys_values = locks.identity_keys_values(adapter.network, identity.embeddings)
    return IpTerm(keys_values, is_normed_by_model=adapter.network.ip.key_norm == BY_MODEL)


def _ref_term(
    model: io.Model.Type, adapter: Adapter, identity: Identity, vae: Any, ref_text: Any, text_d: int
) -> RefTerm:
    require_conditioning(ref_text, text_d, name="ref_text")
    crop = identity.reference_crop
    pictures = torch.stack((crop, torch.full_like(crop, GREY)))  # 2 h w 3
    return RefTerm(adapter.network.ref, locks.picture_latents(model, vae, pictures), require_one_text(ref_text))


def _stand_in_term(model: io.Model.Type, adapter: Adapter, identity: Identity, vae: Any) -> StandInTerm:
    latent = locks.picture_latents(model, vae, identity.portrait[None])
    return StandInTerm(adapter.network.stand_in, latent, adapter.stand_in_expert)
