"""Crops of drawn faces, how recognisers and detectors are taught on them, and that their files compute the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
from insightface.model_zoo.attribute import Attribute
from torch import Tensor, nn
from torch.nn import functional

from demo import world
from demo.miniature import face_onnx
from demo.training import arcface, detector, face_data, judge, recogniser, sexes
from wan_core.identity.align import align_face

SERIES = face_data.PictureSeries("some", "test", range(3), takes=4, seed=70)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> face_data.FacePictures:
    """The drawn series of a few people, alone and in pairs."""
    return face_data.draw(SERIES, tmp_path_factory.mktemp("series"))


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random numbers in every run."""
    torch.manual_seed(0)


def run_onnx(content: bytes, x: Tensor) -> dict[str, Tensor]:
    """All outputs of a file."""
    session = onnxruntime.InferenceSession(content)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, map(torch.from_numpy, session.run(names, {"input": x.numpy()})), strict=True))


def trained(network: nn.Module, x: Tensor) -> nn.Module:
    """A random network whose normalisations have seen something, ready for use, of numbers that fp16 has."""
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    arcface.settle_statistics(network, iter([network(x)]))
    return network.half().float()


# Pictures and crops


def test_a_series_is_gone_on_with_where_it_stopped(pictures: face_data.FacePictures, tmp_path: Path) -> None:
    again = face_data.draw(SERIES, tmp_path)
    again.truth[5:] = np.nan  # as if the process had ended in the middle of a take
    kept = again.frames[:4].copy()
    again.frames[4:] = 0
    again = face_data.draw(SERIES, tmp_path)
    assert np.array_equal(again.frames[:4], kept)
    assert np.array_equal(again.frames[6:], pictures.frames[6:]) and np.array_equal(again.truth, pictures.truth)
    with pytest.raises(ValueError, match="tells of another series"):
        face_data.draw(replace(SERIES, seed=71), tmp_path)


def test_crops_are_those_of_the_alignment() -> None:
    clip = world.film((world.person("test", 1),), world.shot(3, framing="close-up"), frames=2)
    crops = face_data.aligned(clip.frames, clip.points[:, 0])
    for frame, points, crop in zip(clip.frames, clip.points[:, 0] - 0.5, crops, strict=True):
        five = tuple(complex(x, y) for x, y in points.tolist())
        assert torch.allclose(crop, align_face(frame.float() / 255, five).crop, atol=1e-5)
    frames = torch.rand(2, 3, 96, 96, requires_grad=True)
    face_data.crop_differentiable(frames, clip.points[:, 0]).sum().backward()
    assert frames.grad is not None and all(bool(gradient.any()) for gradient in frames.grad)


def test_verification_counts_pairs() -> None:
    embeddings, people = functional.normalize(torch.randn(9, 4), dim=-1), [0, 0, 0, 1, 1, 2, 2, 2, 3]
    pairs = [(a, b) for a in range(9) for b in range(a)]
    same = [float(embeddings[a] @ embeddings[b]) for a, b in pairs if people[a] == people[b]]
    different = [float(embeddings[a] @ embeddings[b]) for a, b in pairs if people[a] != people[b]]
    found = face_data.verification(embeddings, people)
    assert found.same == pytest.approx(np.mean(same), abs=1e-6)
    assert found.different == pytest.approx(np.mean(different), abs=1e-6)
    assert found.auc == pytest.approx(np.mean([[s > d for d in different] for s in same]))


# Recognisers


def test_arcface_adds_its_margin_to_the_angle_of_ones_own_centre() -> None:
    crops, people = functional.normalize(torch.randn(3, 4), dim=-1), torch.tensor([2, 0, 1])
    head = arcface.ArcFace(nn.Identity(), lambda network, x: network(x), identities=3, embedding_d=4)
    head.centres.data[2] = crops[0]  # an angle of 0
    losses = []
    for crop, own in zip(crops, people.tolist(), strict=True):
        cosines = functional.normalize(head.centres.detach(), dim=-1) @ crop
        angles = cosines.clamp(-1, 1).acos().double().numpy()
        angles[own] = min(angles[own] + arcface.MARGIN, np.pi)
        logits = arcface.SCALE * np.cos(angles)
        losses.append(np.log(np.exp(logits).sum()) - logits[own])
    with torch.autocast("cpu", torch.bfloat16):
        loss = head(crops, people)
    assert float(loss.detach()) == pytest.approx(np.mean(losses), rel=1e-3)
    loss.backward()
    assert head.centres.grad.isfinite().all()


def test_statistics_are_settled_over_all_passes() -> None:
    norm, passes = nn.BatchNorm2d(3), [torch.randn(5, 3, 4, 4) + 7 for _ in range(4)]
    arcface.settle_statistics(norm, (norm(x) for x in passes))
    assert torch.allclose(norm.running_mean, torch.stack([x.mean((0, 2, 3)) for x in passes]).mean(0), atol=1e-5)
    assert torch.allclose(norm.running_var, torch.stack([x.var((0, 2, 3)) for x in passes]).mean(0), atol=1e-5)
    assert not norm.training


def test_the_recogniser_that_is_written_is_the_one_that_was_trained(tmp_path: Path) -> None:
    crops = torch.rand(2, 3, 112, 112)
    plain = recogniser.IrBackbone(recogniser.params(), operations=arcface.TrainingLayers)
    network = trained(recogniser.with_fixed_slopes(plain), crops)
    recogniser.write_tensors(tmp_path / "it", recogniser.weights(network))
    with torch.no_grad():
        assert torch.allclose(
            recogniser.embed(recogniser.load(tmp_path / "it"), crops), recogniser.embed(network, crops), atol=1e-4
        )


def test_the_judge_that_is_written_is_the_one_that_was_trained() -> None:
    crops = torch.rand(2, 3, 112, 112) * 2 - 1
    network = trained(judge.IResNet(), crops)
    written = run_onnx(face_onnx.iresnet(judge.weights(network)), crops)["embedding"]
    assert torch.allclose(written, network(crops), atol=1e-4 * float(written.abs().max()))


# Detector


def test_a_canvas_is_what_insightface_would_show() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (96, 96, 3)).astype(np.float32)
    whole = torch.zeros(1), torch.zeros(1), torch.tensor([96.0])
    seen = detector.to_canvas(torch.from_numpy(picture).permute(2, 0, 1)[None], *whole)[0].permute(1, 2, 0)
    shown = cv2.resize(picture, (640, 640)).reshape(160, 4, 160, 4, 3).mean((1, 3))
    assert np.abs(seen.numpy() - shown).max() < 0.1
    at_pixel = torch.full((1, 1, 15), 30.5)  # the middle of pixel 30, as the world says it
    assert torch.allclose(detector.faces_on_canvas(at_pixel, *whole)[..., 1:] / (640 / 96), torch.tensor(30.0))
    beyond = detector.to_canvas(torch.ones(1, 3, 96, 96), torch.zeros(1), torch.zeros(1), torch.tensor([192.0]))
    assert beyond[..., :79, :79].min() > 0.999 and beyond[..., 81:, :].max() == beyond[..., :, 81:].max() == 0


def test_the_detector_that_is_written_is_the_one_that_was_trained() -> None:
    canvas = torch.rand(1, 3, 640, 640) * 2 - 1
    small = functional.avg_pool2d(canvas, detector.POOL)
    network = trained(detector.DetectorNet(), small)
    rows = network(small)[0].flatten(1).T  # 1600 15
    written = run_onnx(detector.detector_file(network), canvas)
    for name, part in (("score", rows[:, :1].sigmoid()), ("box", rows[:, 1:5]), ("points", rows[:, 5:])):
        assert torch.allclose(written[f"{name}_16"][::2], part, atol=2e-3 * float(rows.detach().abs().max()))
    assert not written["score_8"].any() and not written["score_32"].any() and not written["score_16"][1::2].any()


def test_answers_that_are_true_cost_nothing_but_the_wrong_ones_do(pictures: face_data.FacePictures) -> None:
    row = int(pictures.faces(20.0)[0, 0])
    truth = torch.from_numpy(pictures.truth[row : row + 1])
    truth = detector.faces_on_canvas(truth, torch.zeros(1), torch.zeros(1), torch.tensor([96.0]))
    truth[:, 1] = torch.cat((torch.tensor([-1.0]), truth[0, 0, 1:] / 3))  # nobody
    low, high, points = truth[0, 0, 1:3], truth[0, 0, 3:5], truth[0, 0, 5:].reshape(5, 2)
    cells = torch.stack(torch.meshgrid(torch.arange(40), torch.arange(40), indexing="xy")).flatten(1).T * 16.0  # n 2
    is_face = ((cells - (low + high) / 2) / (high - low)).norm(dim=-1) < detector.INSIDE
    told = torch.cat((cells - low, high - cells, (points - cells[:, None]).flatten(1)), dim=1) / 16
    answers = torch.cat((torch.where(is_face, 20.0, -20.0)[:, None], told), dim=1).T.reshape(1, 15, 40, 40)
    assert is_face.any() and all(float(loss) < 1e-6 for loss in detector.loss_of_answers(answers, truth).values())
    aside = truth.clone()
    aside[0, 0, [1, 3]] -= (low + high)[0] / 2 + 10  # a face whose middle is beyond the edge teaches nothing
    small = truth.clone()
    small[0, 0, 1:5] = torch.tensor([300.0, 300.0, 360.0, 360.0])
    assert not any(detector.loss_of_answers(answers, unasked)["box"] for unasked in (aside, small))
    for first, last, part in ((0, 1, "score"), (1, 5, "box"), (5, 15, "points")):
        wrong = answers.clone()
        wrong[:, first:last] *= -1
        assert float(detector.loss_of_answers(wrong, truth)[part]) > 0.1


def test_sexes_are_told_from_the_square_that_insightface_cuts(pictures: face_data.FacePictures, tmp_path: Path) -> None:
    row, place, _ = face = pictures.faces(20.0)[0].tolist()
    network = trained(sexes.SexNet(), torch.rand(4, 3, 96, 96))
    (tmp_path / "sexes.onnx").write_bytes(sexes.file(network))
    attribute, asked = Attribute(str(tmp_path / "sexes.onnx")), []
    run = attribute.session.run
    attribute.session = SimpleNamespace(run=lambda names, feed: asked.append(feed["input"]) or run(names, feed))
    own = type("Found", (dict,), {"bbox": pictures.truth[row, place][face_data.BOX] - 0.5})()
    told, age = attribute.get(np.ascontiguousarray(pictures.frames[row][..., ::-1]), own)
    seen = torch.from_numpy(asked[0])
    assert (face_data.as_seen(sexes.boxed(pictures, torch.tensor([face]))) - seen).abs().max() < 1.5 / 128
    answers = torch.from_numpy(run(None, {"input": asked[0]})[0])[0]
    logits = network(seen)[0].detach()
    assert torch.allclose(answers[:2], logits, atol=2e-3 * float(logits.abs().max()))
    assert age == face_onnx.AGE_YEARS and int(told) == int(logits.argmax())


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.5, 60, 140), (1.0, 200, 200)])
def test_a_share_of_the_faces_is_seen_the_other_way_round(share: float, least: int, most: int) -> None:
    pictures = torch.rand(200, 3, 2, 4, generator=torch.Generator().manual_seed(1))
    seen = face_data.mirrored(pictures, share, torch.Generator().manual_seed(2))
    turned = [index for index in range(200) if torch.equal(seen[index], pictures[index].flip(-1))]
    kept = [index for index in range(200) if torch.equal(seen[index], pictures[index])]
    assert least <= len(turned) <= most and sorted(turned + kept) == list(range(200))
