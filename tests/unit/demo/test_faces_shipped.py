"""The face networks that are shipped, on actors whom they were not taught, by the ways that users go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import safetensors.torch
import torch
from insightface.app import FaceAnalysis

from demo import world
from demo.training import face_data
from wan_core.identity import Recogniser, ir_recogniser, iresnet_recogniser
from wan_core.identity.recogniser import embed
from wan_core.identity.recogniser_file import OUTSIDE

WEIGHTS = Path(__file__).parents[3] / "demo" / "weights"
PEOPLE, FRAMINGS = range(12), ("close-up", "medium shot", "close-up")
IN_THE_PACK = {"cast_detector.onnx": "det_cast.onnx", "cast_genderage.onnx": "genderage.onnx"}


@pytest.fixture(scope="module")
def clips() -> list[world.Clip]:
    """Of each person the portrait, then one frame of each framing in some other place."""
    found = []
    for number in PEOPLE:
        person = world.person("test", number)
        found.append(world.portrait(person))
        for take, framing in enumerate(FRAMINGS):
            shot = world.shot(500 + 10 * number + take, framing=framing, style="film")
            found.append(world.film((person,), shot, frames=1))
    return found


def crop(clip: world.Clip, points: torch.Tensor | None = None) -> torch.Tensor:
    """The aligned face of a clip, 112 112 3, at its true points or at other ones."""
    return face_data.aligned(clip.frames, clip.points[:, 0] if points is None else points)[0]


def read_ir() -> Recogniser:
    state_dict = safetensors.torch.load_file(WEIGHTS / "cast_recogniser.safetensors")
    with ir_recogniser(state_dict, name="cast", sha256="0") as recogniser:
        return recogniser


def read_judge() -> Recogniser:
    session = onnxruntime.InferenceSession(WEIGHTS / "cast_judge.onnx")
    run = lambda x: torch.from_numpy(session.run(None, {"input": x.numpy()})[0])  # noqa: E731
    return iresnet_recogniser(run, OUTSIDE, name="judge", sha256="0")


@pytest.mark.parametrize("read", [read_ir, read_judge])
def test_a_recogniser_knows_people_again_whom_it_never_saw(
    clips: list[world.Clip], read: Callable[[], Recogniser]
) -> None:
    embeddings = embed(read(), torch.stack([crop(clip) for clip in clips])).unit
    found = face_data.verification(embeddings, [clip.people[0].index for clip in clips])
    assert found.same > 0.5 and abs(found.different) < 0.1 and found.auc > 0.97, str(found)


def test_the_pack_finds_every_face_where_it_is_and_whose_it_may_be(clips: list[world.Clip], tmp_path: Path) -> None:
    for name, wanted in IN_THE_PACK.items():
        (tmp_path / wanted).write_bytes((WEIGHTS / name).read_bytes())
    analysis = FaceAnalysis(name=str(tmp_path), providers=["CPUExecutionProvider"], static_shape_sessions=False)
    analysis.prepare(ctx_id=0, det_thresh=0.5)
    recogniser, cosines, errors, sexes = read_ir(), [], [], []
    for clip in clips:
        (face,) = analysis.get(np.ascontiguousarray(clip.frames[0].numpy()[..., ::-1]))
        points, truth = torch.from_numpy(face["kps"]).float() + face_data.PIXEL_MIDDLE, clip.points[0, 0]
        errors.append(float((points - truth).norm(dim=-1).mean() / (truth[1] - truth[0]).norm()))
        one, other = embed(recogniser, torch.stack((crop(clip), crop(clip, points[None])))).unit
        cosines.append(float(one @ other))
        sexes.append(("woman", "man")[face["gender"]] == clip.people[0].sex)
    assert np.mean(cosines) > 0.85 and np.mean(errors) < 0.12, (np.mean(cosines), np.mean(errors))
    assert np.mean(sexes) > 0.75
