"""The user's insightface packs: where they are, what is in them, and what their networks see. Nothing is downloaded."""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

import folder_paths
import torch

from ...wan_core.errors import InputError, MissingDependencyError, UserError, optional_package, quoted
from ...wan_core.identity import FaceSelection, FoundFaces, Recogniser, detect_and_align, iresnet_recogniser
from ...wan_core.identity.faces import LEAST_SCORE, Face, face_of_insightface
from ...wan_core.identity.images import Pictures, as_bytes
from ...wan_core.identity.onnx_graph import OnnxParams
from ...wan_core.identity.recogniser_file import Normalisation, not_a_recogniser, require_recogniser
from ...wan_core.identity.sources import Detector, OnDone
from . import files, onnx_file, onnx_network
from .onnx_file import PUBLISHED_PACKS

PACKS_FOLDER = "insightface"
MANIFEST = "manifest.json"  # a pack that says itself what its files are
DETECTOR_NAME = re.compile(rf"(det|scrfd)_.*\.onnx$|{re.escape(MANIFEST)}$", re.IGNORECASE)  # as in all packs
A_PACK = "an insightface pack, unlike mediapipe in face,"  # as messages call it that say what it needs
WITH_POINTS = (9, 15)  # outputs of a detector that gives the five points too


def pack_names() -> list[str]:
    """The packs that there are, then the published ones that there are not: selecting one says where it belongs."""
    found = packs()
    return [*sorted(found), *(name for name in PUBLISHED_PACKS if name not in found)]


def packs() -> dict[str, str]:
    """Name -> folder of every folder with .onnx files or a manifest in models/insightface/models or models/insightface.

    A pack that was unpacked into a folder of its own name, one level deeper, goes by the outer name.
    """
    found: dict[str, str] = {}
    for root in pack_roots():
        names, _ = folder_paths.recursive_search(root)
        marks = (files.ONNX, MANIFEST)
        folders = {os.path.dirname(name) for name in names if name.lower().endswith(marks)}
        for folder in sorted(folders, key=lambda folder: (folder.count(os.path.sep), folder)):
            parts = folder.split(os.path.sep)
            parts = parts[1:] if parts[0] == "models" else parts
            if 1 <= len(parts) <= 2 and parts[0] and folder.isprintable():
                found.setdefault(parts[0], os.path.join(root, folder))
    return found


def pack_roots() -> list[str]:
    own = os.path.join(folder_paths.models_dir, PACKS_FOLDER)
    known = folder_paths.get_folder_paths(PACKS_FOLDER) if PACKS_FOLDER in folder_paths.folder_names_and_paths else []
    return [*dict.fromkeys([own, *known])]


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack whose networks were all looked into, and may be run."""

    folder: str
    networks: Mapping[str, OnnxParams]  # by real path


def find_pack(name: str) -> Pack:
    """The pack of a name; raises InputError when it is absent, damaged or without a detector."""
    folder = packs().get(name)
    if folder is None:
        expected = os.path.join(pack_roots()[0], "models", name)
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
    return Pack(folder, {os.path.realpath(os.path.join(folder, file)): networks[file] for file in networks})


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
    onnx_network.load_onnxruntime(needed_for=A_PACK)
    with optional_package("insightface", needed_for=A_PACK):
        from insightface.app import FaceAnalysis
    return FaceAnalysis


class InsightfacePack:
    """The networks of a pack, loaded when they are first needed: its detector, what measures faces, its recogniser."""

    def __init__(
        self, name: str, selection: FaceSelection, *, with_recogniser: bool, detection_px: int | None = None
    ) -> None:
        """``detection_px``: side of the square that the detector sees; None: as the package chooses."""
        self.name = name
        self.selection = selection
        self.with_recogniser = with_recogniser
        self.detection_px = detection_px
        self.label = f"insightface pack {name}, {selection.method}"

    @cached_property
    def pack(self) -> Pack:
        """What lies in its folder; raises InputError when it cannot be used."""
        return find_pack(self.name)

    @cached_property
    def networks(self) -> tuple[Any, Any | None]:
        """FaceAnalysis without the recogniser, and the recogniser, an ArcFaceONNX, if it was asked for and is there.

        Raises InputError when insightface cannot use the pack.
        """
        folder, analysis_class = self.pack.folder, load_insightface()
        tasks = ["detection", "genderage", "landmark_3d_68"] + ["recognition"] * self.with_recogniser
        with self._used_by_insightface():
            analysis = analysis_class(
                name=folder,
                root=pack_roots()[0],
                allowed_modules=tasks,
                providers=onnx_network.providers(),
                sess_options=onnx_network.session_options(),
                static_shape_sessions=False,  # else it runs one of its own for each size, which cannot be ended
            )
            size = {} if self.detection_px is None else {"det_size": (self.detection_px, self.detection_px)}
            analysis.prepare(ctx_id=0, det_thresh=LEAST_SCORE, **size)
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
                raise MissingDependencyError("insightface", needed_for=A_PACK, cause=error) from error
            raise InputError(
                "pack",
                found=f"a pack {quoted(self.name)} that insightface cannot use ({type(error).__name__})",
                wanted="a complete pack",
                fix=f"Unpack it again, best {' or '.join(PUBLISHED_PACKS)}, or choose mediapipe in face.",
            ) from error

    def find(self, pictures: Pictures, on_picture: OnDone) -> FoundFaces:
        """The selected face of each picture."""
        return detect_and_align(pictures, self.detector().detect, self.selection, on_picture)

    def detector(self) -> Detector:
        """Its detector; insightface wants BGR bytes. Raises InputError when it cannot use the pack."""
        analysis, _ = self.networks

        def detect(picture: torch.Tensor) -> list[Face]:
            bgr = as_bytes(picture).flip(-1).contiguous().numpy()
            with self._used_by_insightface():
                return [face_of_insightface(face) for face in analysis.get(bgr)]

        size = "auto" if self.detection_px is None else f"{self.detection_px}"
        return Detector(f"insightface {self.name}, det_size {size}, det_thresh {LEAST_SCORE:g}", detect)

    @contextmanager
    def recogniser(self) -> Iterator[Recogniser]:
        """The pack's recogniser; raises InputError when it has none, or none of 512 numbers."""
        _, network = self.networks
        if network is None:
            raise not_a_recogniser(f"the pack {quoted(self.name)} without a recogniser")
        path = network.model_file
        name = f"{self.name}/{os.path.basename(path)}"
        require_recogniser(self.pack.networks[os.path.realpath(path)], name)
        normalisation = Normalisation(float(network.input_mean), float(network.input_std))
        run = onnx_network.runner(network.session, name)
        yield iresnet_recogniser(run, normalisation, name=name, sha256=files.file_sha256(path))
