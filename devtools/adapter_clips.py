"""Folders of clips as an adapter is trained on them: found, read, encoded once, and kept.

A folder a person; in it video files, each with its caption in a .txt file of the same name.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
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
from wan_core.errors import InputError, errors_of, quoted
from wan_core.identity.align import align_face
from wan_core.identity.faces import LEAST_SCORE, Face, face_of_insightface, face_problem
from wan_core.identity.images import as_bytes
from wan_core.media.source import VideoSource
from wan_core.training.examples import ClipExample, require_pairs

from .kept_fit import write_tensors

VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi")
FPS = 16  # of Wan
PIXEL_MIDDLE = complex(0.5, 0.5)  # points count from the middle of the first pixel
DETECTION_PX = 640  # side of the square that a detector sees

EncodeFrames = Callable[[Tensor], Tensor]  # frames f h w 3 in [0, 1] -> latents c t h/8 w/8, in the model's scale
EncodeText = Callable[[str], Tensor]  # a caption -> n d
EmbedFace = Callable[[Tensor], Tensor]  # an aligned face, 112 112 3 in [0, 1] -> 512
FindFaces = Callable[[Tensor], list[Face]]  # in a picture h w 3 in [0, 1]


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


def read_frames(clip: ClipFile, form: ClipForm) -> Tensor:
    """The first frames of a clip at 16 fps in their own size, f h w 3 in [0, 1].

    Raises InputError for a file that cannot be read or is too short.
    """
    with errors_of(clip.path.name), VideoSource(str(clip.path)) as video:
        step = float(video.fps or FPS) / FPS
        wanted = [round(index * step) for index in range(form.frames)]
        frames = list(islice(video, wanted[-1] + 1))
        if len(frames) <= wanted[-1]:
            raise InputError(
                "clips",
                found=f"a film of {len(frames) / float(video.fps or FPS):.1f} s",
                wanted=f"{form.frames / FPS:.1f} s or more ({form.frames} frames at {FPS} fps)",
                fix="Take it away, or train with fewer frames.",
            )
        return torch.stack([torch.from_numpy(frames[index]) for index in wanted]).float() / 255


def brought_into(frames: Tensor, form: ClipForm) -> tuple[Tensor, Callable[[complex], complex]]:
    """Frames f h w 3 in the form's size, cut at the sides, and where a point of the first goes in the others."""
    height, width = frames.shape[1:3]
    scale = max(form.width_px / width, form.height_px / height)
    size = (max(form.height_px, round(height * scale)), max(form.width_px, round(width * scale)))
    grown = functional.interpolate(frames.movedim(-1, 1), size=size, mode="bilinear", antialias=True).movedim(1, -1)
    top, left = (size[0] - form.height_px) // 2, (size[1] - form.width_px) // 2
    cut = grown[:, top : top + form.height_px, left : left + form.width_px].clamp(0, 1)

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
    from insightface.app import FaceAnalysis

    analysis = FaceAnalysis(name=str(folder.resolve()), allowed_modules=["detection"])
    analysis.prepare(ctx_id=0, det_thresh=LEAST_SCORE, det_size=(DETECTION_PX, DETECTION_PX))

    def find(picture: Tensor) -> list[Face]:
        bgr = as_bytes(picture).flip(-1).contiguous().numpy()
        return [face_of_insightface(face) for face in analysis.get(bgr)]

    return find


def largest_face(faces: Sequence[Face]) -> Face | None:
    """The largest face that can be aligned, None where there is none."""
    usable = [face for face in faces if face_problem(face) is None]
    return max(usable, key=lambda face: (face.box[2] - face.box[0]) * (face.box[3] - face.box[1]), default=None)


# Encoding


@dataclass(frozen=True, slots=True)
class ClipEncoders:
    """The networks that make examples of clips."""

    frames: EncodeFrames
    given: Callable[[Tensor, Tensor], Tensor | None]  # frames and their latents -> what image to video sees beside
    text: EncodeText
    faces: FindFaces
    recogniser: EmbedFace
    supervisor: EmbedFace | None
    names: str  # of all their files, with sizes and times: other ones make other examples


def encoded(clip: ClipFile, form: ClipForm, encoders: ClipEncoders) -> dict[str, Tensor]:
    """The tensors of an example; raises InputError where no face is found in it."""
    frames = read_frames(clip, form)
    fitted, place = brought_into(frames, form)
    boxes, points = torch.full((form.latents, 4), torch.nan), torch.full((form.frames, 5, 2), torch.nan)
    found: list[tuple[Face, Tensor]] = []
    for latent in range(form.latents):
        picture = frames[latent * FRAMES_PER_LATENT]
        if face := largest_face(encoders.faces(picture)):
            found.append((face, picture))
            corners = (place(complex(*face.box[:2])), place(complex(*face.box[2:])))
            boxes[latent] = torch.tensor(
                [part / PIXELS_PER_LATENT for corner in corners for part in (corner.real, corner.imag)]
            )
            there = map(place, face.points)
            points[latent * FRAMES_PER_LATENT] = torch.tensor([[point.real, point.imag] for point in there])
    if not found:
        raise InputError(
            "clips",
            found=f"no face in {quoted(clip.path.name)} of {quoted(clip.person)}",
            wanted="a face in every clip",
            fix="Take the clip away; a face smaller than about 24 px is not used.",
        )
    face, picture = max(found, key=lambda pair: (pair[0].score or 0.0) * abs(pair[0].points[1] - pair[0].points[0]))
    crop = align_face(picture, face.points).crop
    latents = encoders.frames(fitted)
    tensors = {"latent": latents, "text": encoders.text(clip.caption), "boxes": boxes, "points": points}
    tensors["embedding"] = functional.normalize(encoders.recogniser(crop).float(), dim=-1)
    if encoders.supervisor is not None:
        tensors["supervised"] = functional.normalize(encoders.supervisor(crop).float(), dim=-1)
    if (given := encoders.given(fitted, latents)) is not None:
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
