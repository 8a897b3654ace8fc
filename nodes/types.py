"""Sockets of our own, and what every node does with an error."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from comfy_api.latest import io

from ..wan_core.errors import InputError, MissingDependencyError

WanIdentity = io.Custom("WAN_IDENTITY")  # wan_core.identity.record.Identity
WanIdAdapter = io.Custom("WAN_ID_ADAPTER")  # wan_core.adapters.lynx.LynxAdapter
WanAudioFeatures = io.Custom("WAN_AUDIO_FEATURES")  # wan_core.audio.tracks.TrackSet

Kind = TypeVar("Kind")
Execute = TypeVar("Execute", bound=Callable[..., io.NodeOutput])


def names_its_errors(execute: Execute) -> Execute:
    """Puts the node's name in front of the errors that its ``execute`` raises for the user."""

    @functools.wraps(execute)
    def named(cls: type[io.ComfyNode], *args: Any, **kwargs: Any) -> io.NodeOutput:
        try:
            return execute(cls, *args, **kwargs)
        except (InputError, MissingDependencyError) as error:
            error.args = (f"{cls.define_schema().node_id}: {error}",)
            raise

    return named


def require_kind(value: object, kind: type[Kind], *, name: str, maker: str) -> Kind:
    """The value of a socket of ours; raises InputError when it is not what the node ``maker`` makes."""
    if not isinstance(value, kind):
        raise InputError(
            name,
            found=type(value).__name__,
            wanted=f"the {name} that {maker} makes",
            fix=f"Connect the output of {maker}.",
        )
    return value
