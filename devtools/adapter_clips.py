"""Folders of clips as an adapter is trained on them: found, read, encoded once, and kept.

A folder a person; in it video files, each with its caption in a .txt file of the same name.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional

from wan_core.adapters.passes import PIXELS_PER_LATENT
from wan_core.adapters.tokens import FRAMES_PER_LATENT
from wan_core.errors import InputError, errors_of, optional_package, quoted
from wan_core.identity.align import align_face
from wan_core.identity.faces import LEAST_SCORE, Face, face_of_insightface, face_problem
from wan_core.identity.images import as_bytes
from wan_core.media.source import VideoSource
from wan_core.training import ClipExample, require_pairs

from .kept_fit import write_tensors

VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi")
FPS = 16  # of Wan
PIXEL_MIDDLE = complex(0.5, 0.5)  # points count from the middle of the first pixel
DETECTION_PX = 640  # side of the square that a detector sees

EncodeFrames = Callable[[Tensor], Tensor]  # frames f h w 3 in [0, 1] -> latents c t h/8 w/8, in the model's scale
EncodeText = Callable[[str], Tensor]  # a caption -> n d
EmbedFace = Callable[[Tensor], Tensor]  # an aligned face, 112 112 3 in [0, 1] -> 512
FindFaces = Callable[[Tensor], list[Face]]  # in a picture h w 3 in [0, 1]
Placing = Callable[[complex], complex]  # where a point goes


# What is there


@dataclass(frozen=True, slots=True)
class ClipFile:
    """One video of one person."""

    path: Path
    caption: str
    person: str


def find_clips(folder: Path) -> list[ClipFile]:
    """The clips of a folder of folders.

    Raises InputError where there are none, where a caption is missing or empty, and for a person with one clip alone.
    """
    if not folder.is_dir():
        raise InputError("clips", found=f"no folder {quoted(str(folder))}", wanted="one", fix="Name the right one.")
    videos = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in VIDEOS)
    if not videos:
        raise InputError(
            "clips",
            found=f"no video in the folders of {quoted(str(folder))}",
            wanted=f"a folder a person, with files that end with {', '.join(VIDEOS)}",
            fix="Put the clips of each person into a folder of their own.",
        )
    silent = [path for path in videos if not _caption_of(path)]
    if silent:
        raise InputError(
            "clips",
            found=f"{len(silent)} clips without a caption, as {quoted(str(silent[0].relative_to(folder)))}",
            wanted="a .txt file of the same name beside every video",
            fix="Write in it what the clip shows; of the person only what a prompt will say.",
        )
    require_pairs([path.parent.name for path in videos])
    return [ClipFile(path, _caption_of(path), path.parent.name) for path in videos]


def _caption_of(video: Path) -> str:
    """The caption beside a video, empty without one; raises InputError for what is no text."""
    caption = video.with_suffix(".txt")
    try:
        return caption.read_text(encoding="utf-8").strip() if caption.is_file() else ""
    except UnicodeDecodeError as error:
        raise InputError(
            "clips", found=f"a caption {quoted(caption.name)} that is no UTF-8", wanted="text", fix="Save it as UTF-8."
        ) from error


@dataclass(frozen=True, slots=True)
class ClipForm:
    """The form that clips are brought into."""

    width_px: int
    height_px: int
    frames: int  # at 16 fps, 1 + 4 * n

    def __post_init__(self) -> None:
        """Raises InputError for a form that Wan does not have."""
        if self.width_px % 16 or self.height_px % 16 or min(self.width_px, self.height_px) < 16:
            size = f"{self.width_px}x{self.height_px}"
            raise InputError("size", found=size, wanted="multiples of 16", fix="832x480 is what Wan2.2 was made for.")
        if self.frames < 1 or (self.frames - 1) % FRAMES_PER_LATENT:
            raise InputError("frames", found=self.frames, wanted="1, 5, 9, 13 ...", fix="81 is five seconds.")

    @property
    def latents(self) -> int:
        return 1 + (self.frames - 1) // FRAMES_PER_LATENT


def frames_of(clip: ClipFile, form: ClipForm) -> Iterator[Tensor]:
    """The first frames of a clip at 16 fps, one after the other in their own size, h w 3 in [0, 1].

    Raises InputError for a file that cannot be read, does not tell its frame rate, or is too short.
    """
    with errors_of(clip.path.name), VideoSource(str(clip.path)) as video:
        if not video.fps:
            raise InputError(
                "clips", found="a film without a frame rate", wanted="one that tells it", fix="Encode it again."
            )
        wanted, number = Counter(round(index * video.fps / FPS) for index in range(form.frames)), -1
        for number, frame in enumerate(islice(video, max(wanted) + 1)):
            for _ in range(wanted[number]):
                yield torch.from_numpy(frame).float() / 255
        if number < max(wanted):
            raise InputError(
                "clips",
                found=f"a film of {(number + 1) / float(video.fps):.1f} s",
                wanted=f"{form.frames / FPS:.1f} s or more ({form.frames} frames at {FPS} fps)",
                fix="Take it away, or train with fewer frames.",
            )


def brought_into(picture: Tensor, form: ClipForm) -> tuple[Tensor, Placing]:
    """A picture h w 3 in the form's size, cut at the sides, and where a point of the first goes in the other."""
    height, width = picture.shape[:2]
    scale = max(form.width_px / width, form.height_px / height)
    size = (max(form.height_px, round(height * scale)), max(form.width_px, round(width * scale)))
    grown = functional.interpolate(picture.movedim(-1, 0)[None], size=size, mode="bilinear", antialias=True)[0]
    top, left = (size[0] - form.height_px) // 2, (size[1] - form.width_px) // 2
    cut = grown[:, top : top + form.height_px, left : left + form.width_px].clamp(0, 1).movedim(0, -1)

    def place(point: complex) -> complex:
        from_corner = point + PIXEL_MIDDLE
        x, y = from_corner.real * size[1] / width - left, from_corner.imag * size[0] / height - top
        return complex(x, y) - PIXEL_MIDDLE

    return cut, place


# Faces


def insightface_detector(folder: Path) -> FindFaces:
    """The detector of an insightface pack; raises InputError where there is none."""
    if not any(folder.glob("*.onnx")):
        raise InputError(
            "faces",
            found=f"no .onnx file in {quoted(str(folder))}",
            wanted="the folder of an insightface pack, as buffalo_l or antelopev2",
            fix="Unpack one there; it is for research only, and nothing is downloaded.",
        )
    with optional_package("insightface", needed_for="The detector of a pack"):
        from insightface.app import FaceAnalysis
    analysis = FaceAnalysis(name=str(folder.resolve()), allowed_modules=["detection"])
    analysis.prepare(ctx_id=0, det_thresh=LEAST_SCORE, det_size=(DETECTION_PX, DETECTION_PX))

    def find(picture: Tensor) -> list[Face]:
        bgr = as_bytes(picture).flip(-1).contiguous().numpy()
        return [face_of_insightface(face) for face in analysis.get(bgr)]

    return find


def own_face(faces: Sequence[Face], before: complex | None) -> Face | None:
    """The face that is nearest to where it was before, the largest where it was nowhere; None without one to align."""
    usable = [face for face in faces if face_problem(face) is None]
    if before is not None:
        return min(usable, key=lambda face: abs(face.centre - before), default=None)
    return max(usable, key=lambda face: (face.box[2] - face.box[0]) * (face.box[3] - face.box[1]), default=None)


def is_inside(points: Iterable[complex], form: ClipForm) -> bool:
    """Whether all points lie in a picture of the form."""
    return all(0 <= point.real <= form.width_px - 1 and 0 <= point.imag <= form.height_px - 1 for point in points)


# Encoding


@dataclass(frozen=True, slots=True)
class ClipEncoders:
    """The networks that make examples of clips."""

    frames: EncodeFrames
    given: Callable[[Tensor, Tensor], Tensor | None]  # frames and their latents -> what image to video sees beside
    text: EncodeText
    faces: FindFaces
    recogniser: EmbedFace
    supervising: EmbedFace | None
    names: str  # of all their files, with sizes and times: other ones make other examples


@dataclass(slots=True, eq=False)
class SeenFace:
    """The face of a clip, as far as it was walked through."""

    boxes: Tensor  # t 4 in units of the latent, NaN where it was not seen
    points: Tensor  # f 5 2 in pixels of the form, NaN where it was not looked for or not seen
    centre: complex | None = None  # where it was last
    crop: Tensor | None = None  # 112 112 3, the surest and largest
    worth: float = -1.0  # of the crop

    def look(self, number: int, picture: Tensor, place: Placing, form: ClipForm, faces: FindFaces) -> None:
        """Looks for it in the first frame of each latent; a face that the form cuts is not seen."""
        latent, later = divmod(number, FRAMES_PER_LATENT)
        face = None if later else own_face(faces(picture), self.centre)
        if face is None or not is_inside(placed := list(map(place, face.points)), form):
            return
        self.centre = face.centre
        corners = map(place, (complex(*face.box[:2]), complex(*face.box[2:])))
        self.boxes[latent] = torch.tensor([part for corner in corners for part in parts_of(corner)]) / PIXELS_PER_LATENT
        self.points[number] = torch.tensor([parts_of(point) for point in placed])
        worth = (face.score or 0.0) * abs(face.points[1] - face.points[0])
        if worth > self.worth:
            self.worth, self.crop = worth, align_face(picture, face.points).crop


def parts_of(point: complex) -> tuple[float, float]:
    """x and y."""
    return point.real, point.imag


def encoded(clip: ClipFile, form: ClipForm, encoders: ClipEncoders) -> dict[str, Tensor]:
    """The tensors of an example; raises InputError where no face is found in it."""
    seen = SeenFace(torch.full((form.latents, 4), torch.nan), torch.full((form.frames, 5, 2), torch.nan))
    fitted = []
    for number, picture in enumerate(frames_of(clip, form)):
        cut, place = brought_into(picture, form)
        fitted.append(cut)
        seen.look(number, picture, place, form, encoders.faces)
    if seen.crop is None:
        raise InputError(
            "clips",
            found=f"no face in {quoted(clip.path.name)} of {quoted(clip.person)}",
            wanted="a face in every clip, inside of what --size leaves of it",
            fix="Take the clip away; a face smaller than about 24 px is not used.",
        )
    frames = torch.stack(fitted)  # f h w 3
    latents = encoders.frames(frames)
    tensors = {"latent": latents, "text": encoders.text(clip.caption), "boxes": seen.boxes, "points": seen.points}
    tensors["embedding"] = functional.normalize(encoders.recogniser(seen.crop).float(), dim=-1)
    if encoders.supervising is not None:
        tensors["supervised"] = functional.normalize(encoders.supervising(seen.crop).float(), dim=-1)
    if (given := encoders.given(frames, latents)) is not None:
        tensors["given"] = given
    return {key: value.detach().cpu() for key, value in tensors.items()}


def require_as_long(text: Tensor, empty_text: Tensor, clip: ClipFile) -> None:
    """Raises InputError for a caption of more tokens than the text encoder fills up to."""
    if text.shape != empty_text.shape:
        raise InputError(
            "clips",
            found=f"a caption of {len(text)} tokens beside {quoted(clip.path.name)} of {quoted(clip.person)}",
            wanted=f"at most {len(empty_text)}",
            fix="Shorten it.",
        )


class EncodedClips:
    """Clips that are encoded, one file each; a clip set for a training."""

    def __init__(self, folder: Path, clips: Sequence[ClipFile], form: ClipForm, encoders: ClipEncoders) -> None:
        """Encodes what is not there yet; what another form or other networks made stays beside it.

        Raises InputError for a clip without a face, and for a caption that is too long.
        """
        self.persons, self.targets = [clip.person for clip in clips], range(len(clips))
        self.empty_text = encoders.text("").detach().cpu()
        self.files: list[Path] = []
        for number, clip in enumerate(clips, start=1):
            told = json.dumps([form.width_px, form.height_px, form.frames, encoders.names, clip.caption])
            digest = hashlib.sha256(clip.path.read_bytes() + told.encode()).hexdigest()
            self.files.append(folder / f"{digest[:32]}.safetensors")
            if not self.files[-1].is_file():
                tensors = encoded(clip, form, encoders)
                require_as_long(tensors["text"], self.empty_text, clip)
                write_tensors(self.files[-1], tensors)
                sys.stdout.write(f"encoded {number} of {len(clips)}: {clip.person}/{clip.path.name}\n")
                sys.stdout.flush()

    def clip(self, number: int) -> ClipExample:
        """One clip, read from its file."""
        found: dict[str, Any] = safetensors.torch.load_file(self.files[number])
        return ClipExample(**{"given": None, "supervised": None} | found)
