"""WanCastAdapterLoader: the weights that put an identity into Wan."""

from __future__ import annotations

from comfy_api.latest import io

from ..wan_core.adapters.files import load_lynx_lite
from ..wan_core.adapters.lynx import LynxAdapter
from .host import devices, files
from .types import WanIdAdapter, names_its_errors


class WanCastAdapterLoader(io.ComfyNode):
    """Loads the two files of a Lynx-lite adapter."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        choices = files.model_files(files.ID_ADAPTERS)
        return io.Schema(
            node_id="WanCastAdapterLoader",
            display_name="WanCast Adapter Loader",
            category="WanCast/identity",
            description="Loads the weights that IDLock uses: a Lynx-lite adapter, in ByteDance's or in Kijai's layout.",
            search_aliases=["lynx", "identity adapter", "face adapter", "ip adapter"],
            inputs=[
                io.Combo.Input(
                    "ip_layers",
                    options=choices,
                    tooltip="The IP layers of Lynx-lite (lynx_lite/ip_layers.safetensors), in models/wan_id_adapters.",
                ),
                io.Combo.Input(
                    "resampler",
                    options=choices,
                    tooltip="The resampler of the same Lynx-lite (lynx_lite/resampler.safetensors), in that folder.",
                ),
            ],
            outputs=[
                WanIdAdapter.Output("adapter", tooltip="The adapter, for IDLock."),
                io.String.Output("report", tooltip="What the files hold: width, blocks and tokens."),
            ],
        )

    @classmethod
    @names_its_errors
    def execute(cls, ip_layers: str, resampler: str) -> io.NodeOutput:
        layers = files.load_weights(files.ID_ADAPTERS, ip_layers, input_name="ip_layers")
        perceiver = files.load_weights(files.ID_ADAPTERS, resampler, input_name="resampler")
        adapter = load_lynx_lite(
            layers.state_dict,
            perceiver.state_dict,
            metadata=perceiver.metadata,
            ip_layers_name=layers.name,
            resampler_name=perceiver.name,
            operations=devices.operations,
            make_patcher=devices.network_patcher,
        )
        return io.NodeOutput(adapter, _report(adapter))


def _report(adapter: LynxAdapter) -> str:
    resampler = adapter.shape.resampler
    return "\n".join(
        (
            f"Lynx-lite: {adapter.ip_layers_name} with {adapter.resampler_name}",
            f"model width {adapter.width_d}, blocks {', '.join(str(block) for block in adapter.blocks)}",
            f"{resampler.tokens} tokens of {resampler.token_d} numbers, {resampler.depth} resampler layers",
            _expected_space(adapter.space_sha256),
        )
    )


def _expected_space(sha256: str | None) -> str:
    if sha256 is None:
        return "expects identities of facexlib's IR-SE50; the file does not say which, so it is not checked"
    return f"expects identities of the recogniser with SHA-256 {sha256[:12]}"
