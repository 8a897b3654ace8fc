"""The host's own MediaPipe landmarker as a finder of faces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ...wan_core.errors import InputError, quoted
from ...wan_core.identity import FaceSelection, FoundFaces, detect_and_align
from ...wan_core.identity.faces import LEAST_SCORE, Face, face_of_mediapipe
from ...wan_core.identity.images import Pictures, as_bytes
from ...wan_core.identity.sources import Detector, OnDone
from . import files

DETECTION = "detection"  # the host's folder for its landmarker
LANDMARKER_FILE = "mediapipe_face_fp32.safetensors"  # as ComfyUI's own workflows name it
LANDMARKER_WORDS = ("mediapipe", "landmarker")  # one of them is in the name of such a file
LANDMARKER_PARTS = (
    "detector_short.",
    "detector_full.",
    "mesh.",
    "blendshapes.",
    "topology.",
    "canonical_vertices",
    "procrustes_indices",
    "procrustes_weights",
)


class MediapipeLandmarker:
    """The host's landmarker with the weights of a file of models/detection."""

    def __init__(self, file: str, selection: FaceSelection) -> None:
        self.file = file
        self.selection = selection
        self.label = f"mediapipe {file}, {selection.method}"

    def find(self, pictures: Pictures, on_picture: OnDone) -> FoundFaces:
        """The selected face of each picture."""
        return detect_and_align(pictures, self.detector().detect, self.selection, on_picture)

    def detector(self) -> Detector:
        """Its detector for far faces looks where the near one finds none; raises InputError for another file."""
        landmarker = load_landmarker(self.file)

        def detect(picture: torch.Tensor) -> list[Face]:
            seen = as_bytes(picture)
            faces = _detect(landmarker, seen, "short") or _detect(landmarker, seen, "full")
            return [_with_angles(landmarker, face, picture.shape) for face in faces]

        return Detector(f"mediapipe {self.file}", detect)


def load_landmarker(name: str) -> Any:
    """The host's MediaPipe landmarker; raises InputError for a file of another kind."""
    from comfy_extras.nodes_mediapipe import FaceLandmarkerModel

    weights = files.load_weights(DETECTION, name, input_name="landmarker").state_dict
    missing = [part for part in LANDMARKER_PARTS if not any(key.startswith(part) for key in weights)]
    if missing:
        raise _no_landmarker(f"{quoted(name)} without {', '.join(missing)}")
    try:
        return FaceLandmarkerModel(weights)
    except Exception as error:
        raise _no_landmarker(f"{quoted(name)}, which the host cannot load ({type(error).__name__})") from error


def _detect(landmarker: Any, picture: torch.Tensor, variant: str) -> list[dict[str, Any]]:
    (faces,) = landmarker.detect_batch([picture.numpy()], num_faces=0, score_thresh=LEAST_SCORE, variant=variant)
    return faces


def _with_angles(landmarker: Any, face: dict[str, Any], shape: Sequence[int]) -> Face:
    from comfy_extras.mediapipe.face_geometry import transformation_matrix_from_detection

    height_px, width_px, _ = shape
    matrix = transformation_matrix_from_detection(face, width_px, height_px, landmarker.canonical_data)
    return face_of_mediapipe(face, matrix.tolist())


def _no_landmarker(found: str) -> InputError:
    return InputError(
        "landmarker",
        found=found,
        wanted="the weights of ComfyUI's MediaPipe face landmarker",
        fix="Put them into models/detection; ComfyUI's own node Load Face Detection Model (MediaPipe) takes the same.",
    )
