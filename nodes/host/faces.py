"""Finding faces: with the user's insightface packs, or with the host's own landmarker. Nothing is ever downloaded."""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from types import ModuleType
from typing import Any

import folder_paths
import torch

from ...wan_core.errors import InputError, MissingDependencyError, UserError, optional_package, quoted
from ...wan_core.identity import (
    AlignedCrops,
    FaceSelection,
    FaceSource,
    FoundFaces,
    GivenLandmarks,
    Recogniser,
    WholePicture,
    detect_and_align,
    iresnet_recogniser,
)
from ...wan_core.identity.faces import Face, face_of_insightface, face_of_mediapipe
from ...wan_core.identity.images import Pictures
from ...wan_core.identity.iresnet import Normalisation, not_a_recogniser, require_recogniser
from ...wan_core.identity.sources import OnDone
from . import files, onnx_file, onnx_network

PACKS_FOLDER = "insightface"
PUBLISHED_PACKS = {"buffalo_l": "det_10g.onnx", "antelopev2": "scrfd_10g_bnkps.onnx"}  # pack -> its detector
MANIFEST = "manifest.json"  # a pack that says itself what its files are
DETECTOR_NAME = re.compile(rf"(det|scrfd)_.*\.onnx$|{re.escape(MANIFEST)}$", re.IGNORECASE)  # as in all packs
DETECTION = "detection"  # the host's folder for its landmarker
LANDMARKER_FILE = "mediapipe_face_fp32.safetensors"  # as ComfyUI's own workflows name it
LANDMARKER_WORDS = ("mediapipe", "landmarker")  # one of them is in the name of such a file
WITH_POINTS = (9, 15)  # outputs of a detector that gives the five points too
LEAST_SCORE = 0.5

SOURCES = ("auto", "insightface pack", "mediapipe", "landmarks", "whole picture", "aligned crop")


def face_source(face: Mapping[str, Any], selection: FaceSelection, *, with_recogniser: bool) -> FaceSource:
    """Who says where the face is, by the input ``face`` and those beside it; raises InputError for an unknown choice.

    ``with_recogniser``: whether the recogniser of a pack is needed too.
    """
    match face.get("face"):
        case "auto":
            return _source_at_hand(selection, with_recogniser=with_recogniser)
        case "aligned crop":
            return AlignedCrops()
        case "landmarks":
            return GivenLandmarks(face.get("landmarks") or "", selection)
        case "insightface pack":
            return InsightfacePack(face.get("pack") or "", selection, with_recogniser=with_recogniser)
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


def _source_at_hand(selection: FaceSelection, *, with_recogniser: bool) -> FaceSource:
    """An insightface pack that is there, the published ones first, else the host's landmarker; else an InputError.

    A folder is taken for a pack by the names in it: networks that swap faces lie beside packs.
    """
    names = {pack: folder_paths.recursive_search(folder)[0] for pack, folder in packs().items()}
    found = [pack for pack in names if any(map(DETECTOR_NAME.match, names[pack]))]
    if found:
        pack = min(found, key=lambda name: (name not in PUBLISHED_PACKS, name))
        return InsightfacePack(pack, selection, with_recogniser=with_recogniser)
    listed = files.model_files(DETECTION)
    landmarkers = [name for name in listed if any(word in name.lower() for word in LANDMARKER_WORDS)]
    if landmarkers:
        return MediapipeLandmarker(landmarkers[0], selection)
    raise InputError(
        "face",
        found="neither an insightface pack nor ComfyUI's MediaPipe face landmarker",
        wanted="one of them to find faces with",
        fix=f"Put {LANDMARKER_FILE} (Comfy-Org/mediapipe on Hugging Face) into models/{DETECTION}, or unpack the "
        f"insightface pack buffalo_l (for research only) into {os.path.join(_roots()[0], 'models', 'buffalo_l')}, and "
        "refresh the page; or choose another way in face.",
    )


def _as_bytes(picture: torch.Tensor) -> torch.Tensor:
    """A picture, h w 3 in [0, 1], as bytes on the CPU."""
    return (picture * 255).round().to("cpu", torch.uint8)


# Packs


def pack_names() -> list[str]:
    """The packs that there are, then the published ones that there are not: selecting one says where it belongs."""
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
            if 1 <= len(parts) <= 2 and parts[0] and folder.isprintable():
                found.setdefault(parts[0], os.path.join(root, folder))
    return found


def _roots() -> list[str]:
    own = os.path.join(folder_paths.models_dir, PACKS_FOLDER)
    known = folder_paths.get_folder_paths(PACKS_FOLDER) if PACKS_FOLDER in folder_paths.folder_names_and_paths else []
    return [*dict.fromkeys([own, *known])]


def find_pack(name: str) -> str:
    """The folder of a pack; raises InputError when it is absent, damaged or without a detector."""
    folder = packs().get(name)
    if folder is None:
        expected = os.path.join(_roots()[0], "models", name)
        raise _no_pack(f"no pack {quoted(name)}", os.path.join(expected, PUBLISHED_PACKS.get(name, "*.onnx")))
    names, _ = folder_paths.recursive_search(folder)
    networks = {
        file: onnx_file.read_params(os.path.join(folder, file), input_name="pack")
        for file in sorted(names)
        if file.lower().endswith(files.ONNX) and (MANIFEST in names or os.path.sep not in file)
    }
    if MANIFEST not in names and not any(
        params.role == "detection" and len(params.outputs) in WITH_POINTS for params in networks.values()
    ):
        listed = ", ".join(f"{quoted(file)} ({params.role})" for file, params in networks.items())
        raise _no_pack(
            f"a pack {quoted(name)} without a detector that gives five points: {listed}",
            os.path.join(folder, PUBLISHED_PACKS.get(name, "det_10g.onnx")),
        )
    return folder


def _no_pack(found: str, wanted: str) -> InputError:
    return InputError(
        "pack",
        found=found,
        wanted=wanted,
        fix="Unpack an insightface pack there (it is for research only, and nothing is downloaded) and refresh the "
        "page.",
    )


def load_insightface() -> Any:
    """insightface's FaceAnalysis; raises MissingDependencyError when a package cannot be used."""
    onnx_network.load_onnxruntime(needed_for="an insightface pack")
    with optional_package("insightface", needed_for="an insightface pack"):
        from insightface.app import FaceAnalysis
    return FaceAnalysis


class InsightfacePack:
    """The networks of a pack, loaded when they are first needed: its detector, what measures faces, its recogniser."""

    def __init__(self, name: str, selection: FaceSelection, *, with_recogniser: bool) -> None:
        self.name = name
        self.selection = selection
        self.with_recogniser = with_recogniser
        self.label = f"insightface pack {name}, {selection.method}"

    @cached_property
    def networks(self) -> tuple[Any, Any | None]:
        """FaceAnalysis without the recogniser, and the recogniser, an ArcFaceONNX, if it was asked for and is there.

        Raises InputError when insightface cannot use the pack.
        """
        folder = find_pack(self.name)
        analysis_class = load_insightface()
        tasks = ["detection", "genderage", "landmark_3d_68"] + ["recognition"] * self.with_recogniser
        with self._used_by_insightface():
            analysis = analysis_class(
                name=folder, root=_roots()[0], allowed_modules=tasks, providers=onnx_network.providers()
            )
            analysis.prepare(ctx_id=0, det_thresh=LEAST_SCORE)
            for network in analysis.models.values():
                network.session = onnx_network.BoundedSession(network.model_file, input_name="pack")
        return analysis, analysis.models.pop("recognition", None)

    @contextmanager
    def _used_by_insightface(self) -> Iterator[None]:
        """What insightface raises in the block is the pack's fault, or its own where it and its packages do not fit."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            if isinstance(error, AttributeError) and isinstance(error.obj, ModuleType):
                raise MissingDependencyError("insightface", needed_for="an insightface pack", cause=error) from error
            raise InputError(
                "pack",
                found=f"a pack {quoted(self.name)} that insightface cannot use ({type(error).__name__})",
                wanted="a complete pack",
                fix="Unpack it again, best buffalo_l or antelopev2.",
            ) from error

    def find(self, pictures: Pictures, on_picture: OnDone) -> FoundFaces:
        """The selected face of each picture; insightface wants BGR bytes."""
        analysis, _ = self.networks

        def detect(picture: torch.Tensor) -> list[Face]:
            bgr = _as_bytes(picture).flip(-1).contiguous().numpy()
            with self._used_by_insightface():
                return [face_of_insightface(face) for face in analysis.get(bgr)]

        return detect_and_align(pictures, detect, self.selection, on_picture)

    @contextmanager
    def recogniser(self) -> Iterator[Recogniser]:
        """The pack's recogniser; raises InputError when it has none, or none of 512 numbers."""
        _, network = self.networks
        if network is None:
            raise not_a_recogniser(f"the pack {quoted(self.name)} without a recogniser")
        path = network.model_file
        name = f"{self.name}/{os.path.basename(path)}"
        require_recogniser(onnx_file.read_params(path, input_name="encoder"), name)
        normalisation = Normalisation(float(network.input_mean), float(network.input_std))
        run = onnx_network.runner(network.session, name)
        yield iresnet_recogniser(run, normalisation, name=name, sha256=files.file_sha256(path))


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


class MediapipeLandmarker:
    """The host's landmarker with the weights of a file of models/detection."""

    def __init__(self, file: str, selection: FaceSelection) -> None:
        self.file = file
        self.selection = selection
        self.label = f"mediapipe {file}, {selection.method}"

    def find(self, pictures: Pictures, on_picture: OnDone) -> FoundFaces:
        """The selected face of each picture; the detector for far faces looks where the near one finds none."""
        landmarker = load_landmarker(self.file)

        def detect(picture: torch.Tensor) -> list[Face]:
            seen = _as_bytes(picture)
            faces = _detect(landmarker, seen, "short") or _detect(landmarker, seen, "full")
            return [_with_angles(landmarker, face, picture.shape) for face in faces]

        return detect_and_align(pictures, detect, self.selection, on_picture)


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
