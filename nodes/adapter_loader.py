"""WanCastAdapterLoader: the weights that put an identity into Wan."""

from __future__ import annotations

from comfy_api.latest import io

from ..wan_core.adapters import AdapterFile, describe_adapter, load_adapter
from .host import devices, files
from .inputs import FileInput
from .types import WanIdAdapter, names_its_errors

NONE = "none"


class WanCastAdapterLoader(io.ComfyNode):
    """Loads the files of an identity adapter: Stand-In, Lynx lite or full, or several of them."""

    NODE_ID = "WanCastAdapterLoader"

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=cls.NODE_ID,
            display_name="WanCast Adapter Loader",
            category="WanCast/identity",
            description=(
                "Loads the weights that IDLock uses: Stand-In, Lynx lite or Lynx full, alone or together, as their "
                "authors or Kijai publish them. All files lie in models/wan_id_adapters."
            ),
            search_aliases=["lynx", "stand-in", "standin", "identity adapter", "face adapter", "ip adapter"],
            inputs=[
                _file_input("ip_layers", "The IP layers of Lynx lite or full (ip_layers.safetensors), or our own."),
                _file_input(
                    "resampler",
                    "The resampler of the same Lynx (resampler.safetensors). Leave it at none for a file of our own "
                    "that holds one.",
                ),
                _file_input("ref_layers", "The reference layers of Lynx full (ref_layers.safetensors).", optional=True),
                _file_input(
                    "stand_in",
                    "A Stand-In file. For Wan2.2 the high and the low file each go to the expert of that name, "
                    "through a loader and an IDLock of its own.",
                    optional=True,
                ),
            ],
            outputs=[
                WanIdAdapter.Output("adapter", tooltip="The adapter, for IDLock."),
                io.String.Output("report", tooltip="What the files hold: kinds, model width, blocks, sizes."),
            ],
        )

    @classmethod
    @names_its_errors
    def execute(cls, ip_layers: str, resampler: str, ref_layers: str = NONE, stand_in: str = NONE) -> io.NodeOutput:
        selected = {"ip_layers": ip_layers, "resampler": resampler, "ref_layers": ref_layers, "stand_in": stand_in}
        read = {
            slot: files.load_weights(files.ID_ADAPTERS, name, input_name=slot)
            for slot, name in selected.items()
            if name != NONE
        }
        adapter = load_adapter(
            {slot: AdapterFile(file.name, file.state_dict, file.metadata) for slot, file in read.items()},
            content_sha256=files.content_sha256(read),
            operations=devices.operations,
            make_patcher=devices.resting_patcher,
        )
        return io.NodeOutput(adapter, describe_adapter(adapter))


def _file_input(name: str, tooltip: str, *, optional: bool = False) -> FileInput:
    options = [NONE, *files.model_files(files.ID_ADAPTERS)]
    return FileInput(name, options=options, default=NONE, optional=optional, tooltip=tooltip)
