"""The face networks that are shipped, on actors whom they were not taught, by the ways that users go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import safetensors.torch
import torch
from insightface.app import FaceAnalysis
from torch import Tensor

from demo import world
from demo.training import face_data
from wan_core.identity import Recogniser, ir_recogniser, iresnet_recogniser
from wan_core.identity.recogniser import embed
from wan_core.identity.recogniser_file import OUTSIDE

WEIGHTS = Path(__file__).parents[3] / "demo" / "weights"
PEOPLE, TAKES = range(12), 3
FRAMINGS = ("close-up", "medium shot", "close-up")


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """One frame of a test person, and the crop of the face at its true points."""

    clip: world.Clip
    person: int
    crop: Tensor  # 112 112 3


@pytest.fixture(scope="module")
def films() -> list[Film]:
    """The portrait of each person, and takes in other places."""
    found = []
    for number in PEOPLE:
        person = world.person("test", number)
        shots = [world.shot(500 + 10 * number + take, framing=FRAMINGS[take], style="film") for take in range(TAKES)]
        for clip in (world.portrait(person), *(world.film((person,), shot, frames=1) for shot in shots)):
            found.append(Film(clip, number, face_data.aligned(clip.frames, clip.points[:, 0])[0]))
    return found


def read_ir() -> Recogniser:
    state_dict = safetensors.torch.load_file(WEIGHTS / "cast_recogniser.safetensors")
    with ir_recogniser(state_dict, name="cast", sha256="0") as recogniser:
        return recogniser


def read_judge() -> Recogniser:
    session = onnxruntime.InferenceSession(WEIGHTS / "cast_judge.onnx")
    return iresnet_recogniser(
        lambda x: torch.from_numpy(session.run(None, {"input": x.numpy()})[0]), OUTSIDE, name="judge", sha256="0"
    )


@pytest.mark.parametrize("read", [read_ir, read_judge])
def test_a_recogniser_knows_a_person_again_whom_it_never_saw(films: list[Film], read: object) -> None:
    embeddings = embed(read(), torch.stack([film.crop for film in films])).unit
    found = face_data.verification(embeddings, [film.person for film in films])
    assert found.same > 0.5 and abs(found.different) < 0.1 and found.auc > 0.98, str(found)
    portraits = embeddings[:: TAKES + 1]
    nearest = (embeddings @ portraits.T).argmax(-1)
    assert float((nearest == torch.tensor([film.person for film in films])).float().mean()) > 0.9


def test_the_pack_finds_every_face_where_it_is_and_says_whose_it_may_be(films: list[Film], tmp_path: Path) -> None:
    for name, wanted in {"cast_detector.onnx": "det_cast.onnx", "cast_genderage.onnx": "genderage.onnx"}.items():
        (tmp_path / wanted).write_bytes((WEIGHTS / name).read_bytes())
    analysis = FaceAnalysis(name=str(tmp_path), providers=["CPUExecutionProvider"], static_shape_sessions=False)
    analysis.prepare(ctx_id=0, det_thresh=0.5)
    recogniser, cosines, errors, sexes = read_ir(), [], [], []
    for film in films:
        (face,) = analysis.get(np.ascontiguousarray(film.clip.frames[0].numpy()[..., ::-1]))
        points = torch.from_numpy(face["kps"]).float()[None] + face_data.PIXEL_MIDDLE
        truth = film.clip.points[:, 0]
        errors.append(float((points - truth).norm(dim=-1).mean() / (truth[0, 1] - truth[0, 0]).norm()))
        crops = torch.stack((film.crop, face_data.aligned(film.clip.frames, points)[0]))
        one, other = embed(recogniser, crops).unit
        cosines.append(float(one @ other))
        sexes.append(face["sex"] == ("M" if film.clip.people[0].sex == "man" else "F"))
    assert min(cosines) > 0.8 and np.mean(cosines) > 0.95, sorted(cosines)
    assert np.mean(errors) < 0.04, sorted(errors)
    assert np.mean(sexes) > 0.85
