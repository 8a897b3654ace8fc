"""IDLock: a model that keeps one person's face."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

from comfy_api.latest import io

from ..wan_core.adapters import APPLY_TO, KEPT_AS, LockSettings, describe_lock, make_lock
from .host import locks, models
from .types import WanIdAdapter, WanIdentity, names_its_errors

log = logging.getLogger(__name__)


class IDLock(io.ComfyNode):
    """Puts an identity into a Wan model."""

    NODE_ID = "IDLock"
    locker: ClassVar[locks.ModelLocker]  # made when the pack loads

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
                    advanced=True,
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
        identity: WanIdentity.Type,
        adapter: WanIdAdapter.Type,
        vae: io.Vae.Type = None,
        **settings: Any,
    ) -> io.NodeOutput:
        result = make_lock(
            LockSettings(**settings),  # the other inputs, by their names
            identity,
            adapter,
            locks.target_of(model),
            earlier=models.locks_in(model),
            read_pictures=locks.picture_reader(model, vae),
            device=model.load_device,
        )
        for note in result.notes:
            log.warning("%s: %s", cls.NODE_ID, note.text)
        return io.NodeOutput(cls.locker.locked(model, result, adapter.patcher), describe_lock(result))


def _finer_inputs() -> list[Any]:
    return [
        io.Float.Input(
            "ref_strength",
            default=1.0,
            min=0.0,
            max=2.0,
            step=0.05,
            optional=True,
            advanced=True,
            tooltip="How strongly Lynx's reference layers act. Without them it changes nothing.",
        ),
        io.Combo.Input(
            "apply_to",
            options=list(APPLY_TO),
            default=APPLY_TO[0],
            optional=True,
            advanced=True,
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
            advanced=True,
            tooltip="A guidance scale for the identity, apart from cfg; 0 is off. It needs one more evaluation a "
            "step. Lynx used 2 with a cfg of 5.",
        ),
        io.String.Input(
            "frame_weights",
            default="",
            optional=True,
            advanced=True,
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
            advanced=True,
            tooltip="The type in which keys and values of the identity are kept. fp8 halves their memory and is no "
            "longer exact.",
        ),
    ]
