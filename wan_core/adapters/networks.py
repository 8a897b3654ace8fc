"""The networks of the host that identities are exact in, by class, and what is exact in each.

Exact is what equals the published formulas in every block of the network. One that is not here may attend in another
order, as Wan-Animate-2 does with two streams in each block: an identity in it would be lost without a word.
"""

from __future__ import annotations

from collections.abc import Set

from ..errors import InputError, quoted

IP_LAYERS, STAND_IN, REF_LAYERS = "Lynx's IP layers", "Stand-In", "Lynx's reference layers"
PLACES = "masks and frame weights"
IP_ALONE = frozenset({IP_LAYERS})  # the video has other positions, or does not come first
ALL_BUT_REF = IP_ALONE | {STAND_IN, PLACES}  # cross-attention reads CLIP pictures beside the text
EVERYTHING = ALL_BUT_REF | {REF_LAYERS}

EXACT_IN = {
    "comfy.ldm.wan.model.WanModel": EVERYTHING,
    "comfy.ldm.wan.model.VaceWanModel": EVERYTHING,
    "comfy.ldm.wan.model.CameraWanModel": EVERYTHING,
    "comfy.ldm.wan.model.HumoWanModel": EVERYTHING,
    "comfy.ldm.wan.model.WanModel_S2V": EVERYTHING,
    "comfy.ldm.wan.model_animate.AnimateWanModel": ALL_BUT_REF,
    "comfy.ldm.wan.model.SCAILWanModel": IP_ALONE,
    "comfy.ldm.wan.model.SCAIL2WanModel": IP_ALONE,
    "comfy.ldm.wan.model_wandancer.WanDancerModel": IP_ALONE,
}


def require_network(network: str, used: Set[str]) -> None:
    """Raises InputError unless everything that is used of an identity is exact in a network, module and class."""
    if network not in EXACT_IN:
        raise InputError(
            "model",
            found=f"a network of the class {quoted(network)}",
            wanted=f"one that identities are exact in: {_names_of(used)}",
            fix="In another one the identity would be lost. Load a text-to-video or image-to-video model of Wan2.1 or "
            "Wan2.2.",
        )
    if missing := used - EXACT_IN[network]:
        needs = " and ".join(sorted(missing))
        raise InputError(
            "model",
            found=f"a {_class_of(network)}",
            wanted=f"one that allows {needs}: {_names_of(used)}",
            fix=f"Use another model, or do without {needs}.",
        )


def _names_of(used: Set[str]) -> str:
    """The classes in which everything that is used is exact."""
    return ", ".join(_class_of(network) for network, exact in EXACT_IN.items() if used <= exact)


def _class_of(network: str) -> str:
    return network.rpartition(".")[2]
