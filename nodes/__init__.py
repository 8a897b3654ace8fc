"""The WanCast nodes, as the host sees them."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .adapter_loader import WanCastAdapterLoader
from .audio_features import AudioFeatures
from .character_library import WanCastCharacterLoad, WanCastCharacterSave
from .decode_to_video import WanCastDecodeToVideo
from .high_compression_vae_decode import HighCompressionVAEDecode
from .host import files, hot_characters, left_overs, library, loaded_characters, locks, routes
from .id_lock import IDLock
from .identity_check import WanCastIdentityCheck
from .identity_encode import IdentityEncode
from .lip_sync_check import LipSyncCheck
from .moe_parts import WanCastMoEGuider, WanCastMoEModel, WanCastMoESigmas
from .moe_sampler import MoESampler
from .prompt_check import WanCastPromptCheck


class WanCastExtension(ComfyExtension):
    """Registers our model folders, routes and nodes, gives the nodes what they share, and looks for left-overs."""

    async def on_load(self) -> None:
        files.register_model_folders()
        IDLock.locker = locks.ModelLocker()
        cast = library.Library(files.characters_folder())
        hot = hot_characters.HotCharacters(cast)
        WanCastCharacterSave.library, WanCastCharacterLoad.loaded = cast, loaded_characters.LoadedCharacters(hot)
        routes.serve(cast, hot)
        left_overs.start_looking_for_left_overs()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            IdentityEncode,
            WanCastAdapterLoader,
            IDLock,
            AudioFeatures,
            MoESampler,
            WanCastMoEGuider,
            WanCastMoEModel,
            WanCastMoESigmas,
            HighCompressionVAEDecode,
            WanCastDecodeToVideo,
            LipSyncCheck,
            WanCastIdentityCheck,
            WanCastCharacterSave,
            WanCastCharacterLoad,
            WanCastPromptCheck,
        ]
