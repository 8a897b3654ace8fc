"""What may come through the sockets of each type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from comfy_api.latest import Input

from ..wan_core.adapters import Adapter
from ..wan_core.audio import AudioEncoder, TrackSet
from ..wan_core.checks import TRUTHS, is_audio, is_latent, is_plain_tensor
from ..wan_core.identity.record import Identity


@dataclass(frozen=True, slots=True)
class SocketType:
    """What a socket takes."""

    words: str  # for a message
    accepts: Callable[[Any], bool]


def instance_of(*classes: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, classes)


def has_attributes(*attributes: str) -> Callable[[Any], bool]:
    """For what the host's classes make, which other packs make too."""
    return lambda value: all(hasattr(value, attribute) for attribute in attributes)


SOCKETS: Mapping[str, SocketType] = {  # by the host's names
    "AUDIO": SocketType("AUDIO with 'waveform' and 'sample_rate'", is_audio),
    "AUDIO_ENCODER": SocketType("an audio encoder", instance_of(AudioEncoder)),
    "BOOLEAN": SocketType("true or false", instance_of(*TRUTHS)),
    "CONDITIONING": SocketType("CONDITIONING", instance_of(list)),
    "GUIDER": SocketType("a GUIDER", has_attributes("sample", "model_patcher")),
    "IMAGE": SocketType("an IMAGE", is_plain_tensor),
    "LATENT": SocketType("a LATENT", is_latent),
    "MASK": SocketType("a MASK", is_plain_tensor),
    "MODEL": SocketType("a MODEL", has_attributes("get_model_object", "model_options")),
    "SIGMAS": SocketType("SIGMAS", is_plain_tensor),
    "VAE": SocketType("a VAE", has_attributes("first_stage_model")),
    "VIDEO": SocketType("a VIDEO", instance_of(Input.Video)),
    "WAN_AUDIO_FEATURES": SocketType("the features that AudioFeatures makes", instance_of(TrackSet)),
    "WAN_IDENTITY": SocketType("the identity that IdentityEncode makes", instance_of(Identity)),
    "WAN_ID_ADAPTER": SocketType("the adapter that WanCastAdapterLoader makes", instance_of(Adapter)),
}
