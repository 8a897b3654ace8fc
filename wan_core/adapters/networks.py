"""The networks of the host that identities are exact in, by class, and what is exact in each.

Exact is what equals the published formulas in every block of the network. A network that is not here attends in an
order that nobody has looked at: an identity in it would be lost, or end up in another stream, without a word.
"""

from __future__ import annotations

from collections.abc import Set

from ..errors import InputError, quoted

IP_LAYERS, STAND_IN, REF_LAYERS = "Lynx's IP layers", "Stand-In", "Lynx's reference layers"
PLACES = "masks and frame weights"
READS_TEXT = frozenset({IP_LAYERS})  # the video's tokens lie in another place, or have other positions
READS_PICTURES_TOO = READS_TEXT | {STAND_IN, PLACES}  # cross-attention reads CLIP pictures beside the text
PLAIN = READS_PICTURES_TOO | {REF_LAYERS}

EXACT_IN = {
    "comfy.ldm.wan.model.WanModel": PLAIN,
    "comfy.ldm.wan.model.VaceWanModel": PLAIN,
    "comfy.ldm.wan.model.CameraWanModel": PLAIN,
    "comfy.ldm.wan.model.HumoWanModel": PLAIN,
    "comfy.ldm.wan.model.WanModel_S2V": PLAIN,
    "comfy.ldm.wan.model_animate.AnimateWanModel": READS_PICTURES_TOO,
    "comfy.ldm.wan.model.SCAILWanModel": READS_TEXT,
    "comfy.ldm.wan.model.SCAIL2WanModel": READS_TEXT,
    "comfy.ldm.wan.model_wandancer.WanDancerModel": READS_TEXT,
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
