"""IDLock: a model that keeps one person's face."""

from __future__ import annotations

from comfy_api.latest import io

from ..wan_core.adapters.inject import IdentityInjection
from ..wan_core.adapters.lynx import LynxAdapter
from ..wan_core.adapters.selection import (
    parse_blocks,
    require_percents,
    require_space,
    require_strength,
    require_width,
)
from ..wan_core.identity.record import Identity
from .host import models
from .types import WanIdAdapter, WanIdentity, names_its_errors, require_kind


class IDLock(io.ComfyNode):
    """Adds an identity's cross-attention term to a Wan model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDLock",
            display_name="ID Lock",
            category="WanCast/identity",
            description="Makes a Wan model show one person. Use it on the high-noise and on the low-noise model.",
            search_aliases=["lynx", "face lock", "identity", "character consistency", "ip adapter"],
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
                    tooltip="How strongly the identity acts. Adapters are trained with 1; 0 changes nothing.",
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
            ],
            outputs=[io.Model.Output("model", tooltip="The model with the identity in it. IDLocks can be chained.")],
        )

    @classmethod
    @names_its_errors
    def execute(
        cls,
        model: io.Model.Type,
        identity: Identity,
        adapter: LynxAdapter,
        strength: float,
        start_percent: float,
        end_percent: float,
        blocks: str,
    ) -> io.NodeOutput:
        require_kind(identity, Identity, name="identity", maker="IdentityEncode")
        require_kind(adapter, LynxAdapter, name="adapter", maker="WanCastAdapterLoader")
        require_strength(strength)
        require_percents(start_percent, end_percent)
        space = identity.space
        require_space(adapter.space_sha256, family=space.family, name=space.name, sha256=space.sha256)
        wan = models.wan_size(model)
        require_width(adapter.width_d, wan.width_d)
        chosen = parse_blocks(blocks, adapter_blocks=adapter.blocks, model_blocks=wan.blocks)
        if strength == 0 or start_percent == end_percent:
            return io.NodeOutput(model.clone())
        first_sigma, last_sigma = models.sigma_range(model, start_percent, end_percent)
        injection = IdentityInjection(adapter.network, identity.z, strength, chosen, first_sigma, last_sigma)
        return io.NodeOutput(models.with_model_wrapper(model, "wancast_id_lock", injection, adapter.patcher))
