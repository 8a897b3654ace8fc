"""A detector and a recogniser that are not ours, with their weights in their packages: what ours is held against.

MTCNN is facenet-pytorch's; the recogniser is dlib's ResNet, which sees a face in a template of dlib's own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy
import torch
from numpy import ndarray
from PIL import Image
from torch import Tensor

from wan_core import identity
from wan_core.identity import EncodeRequest, EncodeResult, FaceSelection, FoundFaces, Recogniser, detect_and_align
from wan_core.identity.align import TEMPLATE, Similarity, warp
from wan_core.identity.faces import Face
from wan_core.identity.images import Pictures
from wan_core.identity.record import IDENTITY_D, Space
from wan_core.identity.sources import OnDone

SAME_DISTANCE = 0.6  # at most, between two vectors of one person: what dlib was published with
SAME_COS = 0.91  # the same between unit vectors, as those of dlib are 1.41 long: 1 - 0.6 ** 2 / (2 * 1.41 ** 2)
CHIP_PX, CHIP_PADDING = 150, 0.25
LEAST_SCORE = 0.9  # of MTCNN, its own default of the last stage being 0.7

# The corners of both eyes in dlib's mean face, which its chips are aligned to (dlib/image_transforms/interpolation.h).
LEFT_EYE = (complex(0.1205750620789, 0.2137274526848), complex(0.3340850613712, 0.2290642403242))
RIGHT_EYE = (complex(0.6460604764104, 0.2289674387677), complex(0.8595674595992, 0.2134981538014))


def chip_to_crop() -> Similarity:
    """From pixels of dlib's chip to those of the ArcFace crop: it takes the middles of the eyes to its eyes."""
    padding = complex(CHIP_PADDING, CHIP_PADDING)
    left, right = ((sum(eye) / 2 + padding) * CHIP_PX / (1 + 2 * CHIP_PADDING) for eye in (LEFT_EYE, RIGHT_EYE))
    slope = (TEMPLATE[1] - TEMPLATE[0]) / (right - left)
    return Similarity(slope, TEMPLATE[0] - slope * left)


def as_bytes(picture: Tensor) -> ndarray:
    """Pixels from 0 to 255, h w 3."""
    return (picture * 255).round().clamp(0, 255).byte().contiguous().numpy()


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """What others make of faces, and so a source of them."""

    label = "MTCNN"

    mtcnn: Any
    frontal: Any  # dlib's detector
    five_points: Any  # dlib's, the corners of the eyes and the nose
    network: Any
    sha256: str  # of the network's weights
    seen: dict[bytes, Any] = field(default_factory=dict)  # what was found in a picture: pictures come again and again

    def detect(self, picture: Tensor) -> list[Face]:
        """MTCNN's faces in a picture, h w 3 in [0, 1]."""
        return self._once(as_bytes(picture), self._detect)

    def _detect(self, pixels: ndarray) -> list[Face]:
        boxes, scores, points = self.mtcnn.detect(Image.fromarray(pixels), landmarks=True)
        if boxes is None:
            return []
        return [
            Face(tuple(map(float, box)), tuple(complex(*map(float, point)) for point in five), float(score))
            for box, score, five in zip(boxes, scores, points, strict=True)
            if score >= LEAST_SCORE
        ]

    def find(self, pictures: Pictures, on_picture: OnDone) -> FoundFaces:
        return detect_and_align(pictures, self.detect, FaceSelection(), on_picture)

    def embed_crop(self, crop: Tensor) -> Tensor:
        """dlib's 128 numbers of a face in the ArcFace template, and zeros up to the 512 of an identity."""
        return self._once(as_bytes(warp(crop, chip_to_crop(), CHIP_PX)), self._embed_chip)

    def embed_picture(self, picture: Tensor) -> Tensor | None:
        """The same of the surest face in a picture as dlib finds and aligns it; None where it finds none."""
        import dlib

        pixels = as_bytes(picture)
        boxes, scores, _ = self.frontal.run(pixels, 1, 0)
        if not boxes:
            return None
        shape = self.five_points(pixels, boxes[int(numpy.argmax(scores))])
        return self._embed_chip(dlib.get_face_chip(pixels, shape, CHIP_PX, CHIP_PADDING))

    def _embed_chip(self, chip: ndarray) -> Tensor:
        vector = torch.tensor(list(self.network.compute_face_descriptor(chip)))  # 128
        return torch.nn.functional.pad(vector, (0, IDENTITY_D - len(vector)))

    def scorer(self) -> AbstractContextManager[Recogniser]:
        return nullcontext(Recogniser(self.embed_crop, Space("dlib ResNet", self.sha256, "dlib"), "dlib ResNet"))

    def encode(self, *pictures: Tensor) -> EncodeResult:
        """What IdentityEncode would make of pictures of one person, each h w 3 in [0, 1]."""
        request = EncodeRequest([picture[None] for picture in pictures])
        return identity.encode(request, source=self, recogniser=self.scorer())

    def _once(self, pixels: ndarray, work: Callable[[ndarray], Any]) -> Any:
        key = work.__name__.encode() + numpy.array(pixels.shape).tobytes() + hashlib.sha256(pixels).digest()
        if key not in self.seen:
            self.seen[key] = work(pixels)
        return self.seen[key]


def load_judge() -> Judge:
    """The judge, from the installed packages; raises ImportError naming the one that is missing."""
    import dlib
    from facenet_pytorch import MTCNN

    spec = find_spec("face_recognition_models")  # to import it takes a pkg_resources that new Pythons have not
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("No module named 'face_recognition_models'")
    models = Path(spec.submodule_search_locations[0]) / "models"
    network = models / "dlib_face_recognition_resnet_model_v1.dat"
    return Judge(
        MTCNN(keep_all=True, device="cpu"),
        dlib.get_frontal_face_detector(),
        dlib.shape_predictor(str(models / "shape_predictor_5_face_landmarks.dat")),
        dlib.face_recognition_model_v1(str(network)),
        hashlib.sha256(network.read_bytes()).hexdigest(),
    )
