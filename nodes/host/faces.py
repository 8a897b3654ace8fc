"""Finding faces with the user's insightface packs and with the host's own landmarker. Nothing is ever downloaded."""

from __future__ import annotations

import os.path
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import folder_paths
import torch

from ...wan_core.errors import InputError, MissingDependencyError
from ...wan_core.identity.faces import Face, face_of_insightface, face_of_mediapipe
from ...wan_core.identity.iresnet import not_a_recogniser, require_recogniser
from . import devices, files, onnx_network

PACKS_FOLDER = "insightface"
PUBLISHED_PACKS = {"buffalo_l": "det_10g.onnx", "antelopev2": "scrfd_10g_bnkps.onnx"}  # pack -> its detector
MANIFEST = "manifest.json"  # a pack that says itself what its files are
DETECTION = "detection"  # the host's folder for its landmarker
WITH_POINTS = (9, 15)  # outputs of a detector that gives the five points too
LEAST_SCORE = 0.5

OnPicture = Callable[[int], None]


# Packs


def pack_names() -> list[str]:
    """The packs that there are, then the published ones that there are not: picking one says where it belongs."""
    found = packs()
    return [*sorted(found), *(name for name in PUBLISHED_PACKS if name not in found)]


def packs() -> dict[str, str]:
    """Name -> folder of every folder with .onnx files or a manifest in models/insightface/models or models/insightface.

    A pack that was unpacked into a folder of its own name, one level deeper, goes by the outer name.
    """
    found: dict[str, str] = {}
    for root in _roots():
        names, _ = folder_paths.recursive_search(root)
        marks = (files.ONNX, MANIFEST)
        folders = {os.path.dirname(name) for name in names if name.lower().endswith(marks)}
        for folder in sorted(folders, key=lambda folder: (folder.count(os.path.sep), folder)):
            parts = folder.split(os.path.sep)
            parts = parts[1:] if parts[0] == "models" else parts
            if 1 <= len(parts) <= 2 and parts[0]:
                found.setdefault(parts[0], os.path.join(root, folder))
    return found


def _roots() -> list[str]:
    own = os.path.join(folder_paths.models_dir, PACKS_FOLDER)
    known = folder_paths.get_folder_paths(PACKS_FOLDER) if PACKS_FOLDER in folder_paths.folder_names_and_paths else []
    return [*dict.fromkeys([own, *known])]


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack whose files were looked at."""

    name: str  # as the user picked it
    folder: str


def read_pack(name: str) -> Pack:
    """Looks at the files of a pack; raises InputError when it is absent, damaged or without a detector."""
    folder = packs().get(name)
    if folder is None:
        expected = os.path.join(_roots()[0], "models", name)
        raise _no_pack(f"no pack {name!r}", os.path.join(expected, PUBLISHED_PACKS.get(name, "*.onnx")))
    names, _ = folder_paths.recursive_search(folder)
    pack = Pack(name, folder)
    if MANIFEST in names:
        return pack
    onnx_files = sorted(each for each in names if each.lower().endswith(files.ONNX) and os.path.sep not in each)
    outlines = {each: onnx_network.read_outline(os.path.join(folder, each), input_name="pack") for each in onnx_files}
    detectors = [outline for outline in outlines.values() if outline.role == "detection"]
    if not any(len(outline.outputs) in WITH_POINTS for outline in detectors):
        listed = ", ".join(f"{each} ({outline.role})" for each, outline in outlines.items())
        raise _no_pack(
            f"a pack {name!r} without a detector that gives five points: {listed}",
            os.path.join(folder, PUBLISHED_PACKS.get(name, "det_10g.onnx")),
        )
    return pack


def _no_pack(found: str, wanted: str) -> InputError:
    return InputError(
        "pack",
        found=found,
        wanted=wanted,
        fix="Unpack an insightface pack there (it is for research only, and nothing is downloaded) and refresh the "
        "page.",
    )


# insightface


def load_insightface() -> Any:
    """insightface's FaceAnalysis; raises MissingDependencyError when a package is not installed."""
    onnx_network.load_onnxruntime(needed_for="an insightface pack")
    try:
        from insightface.app import FaceAnalysis
    except ImportError as error:
        raise MissingDependencyError("insightface", needed_for="an insightface pack") from error
    return FaceAnalysis


@dataclass(frozen=True, slots=True)
class PackNetworks:
    """The networks of a pack, loaded."""

    analysis: Any  # insightface's FaceAnalysis, without the recogniser
    recogniser: Any | None  # insightface's ArcFaceONNX; None where it was not asked for or is not there


def load_pack(pack: Pack, *, with_recogniser: bool) -> PackNetworks:
    """Loads a pack's detector and what measures faces; raises InputError when insightface cannot use it."""
    analysis_class = load_insightface()
    tasks = ["detection", "genderage", "landmark_3d_68"] + ["recognition"] * with_recogniser
    try:
        analysis = analysis_class(
            name=pack.folder, root=_roots()[0], allowed_modules=tasks, providers=onnx_network.providers()
        )
        analysis.prepare(ctx_id=0, det_thresh=LEAST_SCORE)
    except Exception as error:
        raise InputError(
            "pack",
            found=f"a pack {pack.name!r} that insightface cannot load ({type(error).__name__}: {error})",
            wanted="a complete pack",
            fix=f"Unpack it again into {pack.folder}.",
        ) from error
    return PackNetworks(analysis, analysis.models.pop("recognition", None))


@dataclass(frozen=True, slots=True)
class PackRecogniser:
    """The recogniser of a pack, as insightface loaded it."""

    path: str
    session: Any  # onnxruntime's InferenceSession
    mean: float  # taken off pixels from 0 to 255
    std: float  # what they are divided by then

    @property
    def file_name(self) -> str:
        """Its name in the pack."""
        return os.path.basename(self.path)


def require_pack_recogniser(networks: PackNetworks, pack: str) -> PackRecogniser:
    """The pack's recogniser; raises InputError when it has none, or none of 512 numbers."""
    network = networks.recogniser
    if network is None:
        raise not_a_recogniser(f"the pack {pack!r} without a recogniser")
    path = network.model_file
    require_recogniser(onnx_network.read_outline(path, input_name="encoder"), f"{pack}/{os.path.basename(path)}")
    return PackRecogniser(path, network.session, float(network.input_mean), float(network.input_std))


def faces_by_insightface(networks: PackNetworks, pictures: torch.Tensor, on_picture: OnPicture) -> list[list[Face]]:
    """The faces in each picture, b h w 3 RGB in [0, 1]; insightface wants BGR bytes."""
    found = []
    for index, picture in enumerate(_as_bytes(pictures).flip(-1)):
        found.append([face_of_insightface(face) for face in networks.analysis.get(picture.contiguous().numpy())])
        on_picture(index + 1)
    return found


def _as_bytes(pictures: torch.Tensor) -> torch.Tensor:
    return (pictures * 255).round().to("cpu", torch.uint8)


# The host's landmarker

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


def landmarker_files() -> list[str]:
    """The files in the host's folder for its landmarker."""
    return files.model_files(DETECTION)


def load_landmarker(name: str) -> Any:
    """The host's MediaPipe landmarker; raises InputError for a file of another kind."""
    from comfy_extras.nodes_mediapipe import FaceLandmarkerModel

    weights = files.load_weights(DETECTION, name, input_name="landmarker").state_dict
    missing = [part for part in LANDMARKER_PARTS if not any(key.startswith(part) for key in weights)]
    if missing:
        raise _no_landmarker(f"{name!r} without {', '.join(missing)}")
    try:
        return FaceLandmarkerModel(weights)
    except Exception as error:
        raise _no_landmarker(f"{name!r}, which the host cannot load ({type(error).__name__}: {error})") from error


def faces_by_landmarker(landmarker: Any, pictures: torch.Tensor, on_picture: OnPicture) -> list[list[Face]]:
    """The faces in each picture, b h w 3 RGB in [0, 1]; the detector for far faces looks where the near one fails."""
    found = []
    for index, picture in enumerate(_as_bytes(pictures)):
        faces = _detect(landmarker, picture, "short") or _detect(landmarker, picture, "full")
        found.append([_with_angles(landmarker, face, picture.shape) for face in faces])
        on_picture(index + 1)
    return found


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


def progress_of_two(first: int, second: int) -> tuple[OnPicture, OnPicture]:
    """Progress of two jobs, one after the other, on one bar."""
    report = devices.progress(first + second)
    return report, lambda done: report(first + done)
