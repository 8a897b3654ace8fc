"""Who says where the face is: what finds faces on this machine, or the user."""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from typing import Any

import folder_paths

from ...wan_core.errors import InputError, quoted
from ...wan_core.identity import AlignedCrops, FaceSelection, FaceSource, GivenLandmarks, WholePicture
from . import files
from .insightface_pack import DETECTOR_NAME, InsightfacePack, pack_roots, packs
from .landmarker import DETECTION, LANDMARKER_FILE, LANDMARKER_WORDS, MediapipeLandmarker
from .onnx_file import PUBLISHED_PACKS

SOURCES = ("auto", "insightface pack", "mediapipe", "landmarks", "whole picture", "aligned crop")


def face_source(
    face: Mapping[str, Any], selection: FaceSelection, *, with_recogniser: bool, detection_px: int | None = None
) -> FaceSource:
    """Who says where the face is, by the input ``face`` and those beside it; raises InputError for an unknown choice.

    ``with_recogniser``: whether the recogniser of a pack is needed too. ``detection_px``: side of the square that its
    detector sees; None: as the package chooses.
    """
    of_pack = {"with_recogniser": with_recogniser, "detection_px": detection_px}
    match face.get("face"):
        case "auto":
            return _source_at_hand(selection, of_pack)
        case "aligned crop":
            return AlignedCrops()
        case "landmarks":
            return GivenLandmarks(face.get("landmarks") or "", selection)
        case "insightface pack":
            return InsightfacePack(face.get("pack") or "", selection, **of_pack)
        case "mediapipe":
            return MediapipeLandmarker(face.get("landmarker") or "", selection)
        case "whole picture":
            return WholePicture()
    raise InputError(
        "face",
        found=quoted(face.get("face")),
        wanted=f"one of {', '.join(SOURCES)}",
        fix="In API format set the input face, and for example face.landmarks beside it.",
    )


def _source_at_hand(selection: FaceSelection, of_pack: Mapping[str, Any]) -> FaceSource:
    """An insightface pack that is there, the published ones first, else the host's landmarker; else an InputError.

    A folder is taken for a pack by the names in it: networks that swap faces lie beside packs.
    """
    names = {pack: folder_paths.recursive_search(folder)[0] for pack, folder in packs().items()}
    found = [pack for pack in names if any(map(DETECTOR_NAME.match, names[pack]))]
    if found:
        pack = min(found, key=lambda name: (name not in PUBLISHED_PACKS, name))
        return InsightfacePack(pack, selection, **of_pack)
    listed = files.model_files(DETECTION)
    landmarkers = [name for name in listed if any(word in name.lower() for word in LANDMARKER_WORDS)]
    if landmarkers:
        return MediapipeLandmarker(landmarkers[0], selection)
    pack_folder = os.path.join(pack_roots()[0], "models", "buffalo_l")
    raise InputError(
        "face",
        found="neither an insightface pack nor ComfyUI's MediaPipe face landmarker",
        wanted="one of them to find faces with",
        fix=f"Put {LANDMARKER_FILE} (Comfy-Org/mediapipe on Hugging Face) into models/{DETECTION}, or unpack the "
        f"insightface pack buffalo_l (for research only) into {pack_folder}, and refresh the page; or choose another "
        "way in face.",
    )
