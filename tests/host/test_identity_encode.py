"""IdentityEncode with every source of faces and kind of recogniser, on the real host and the real insightface."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from demo.miniature import face_landmarker, face_onnx
from devtools.server import HostServer
from tests.host import recipes
from tests.host.live import ROOT, Client, Graph, Node, Run, Saved
from wan_core.identity.align import align_face, cut_reference
from wan_core.identity.faces import Face, face_of_insightface, face_of_points
from wan_core.identity.portrait import cut_portrait

PACK, IRESNET, OF_THE_PACK = "mini_pack", "mini_iresnet.onnx", "recogniser of the insightface pack"
BY_PACK = {"face": "insightface pack", "face__pack": PACK}
BY_HOST = {"face": "mediapipe", "face__landmarker": "mini_landmarker.safetensors"}
ORANGE = (255, 128, 0)
MARKS = {"one": [(247, 196)], "two": [(247, 196), (104, 320)], "none": [], "edge": [(247, 196), (24, 24)]}


def portrait() -> np.ndarray:
    return np.array(Image.open(ROOT / "tests" / "data" / "portrait.png").convert("RGB"))


def marked(marks: list[tuple[int, int]]) -> np.ndarray:
    """The portrait with an orange mark at each nose that the miniature pack is to find: h w 3 bytes."""
    picture = portrait()
    for left, top in marks:
        picture[top : top + 16, left : left + 16] = ORANGE
    return picture


@pytest.fixture(scope="module", autouse=True)
def pictures(live_host: HostServer) -> Path:
    """Pictures for the pack, in the host's input folder."""
    folder = live_host.base_dir / "input"
    for name, marks in MARKS.items():
        Image.fromarray(marked(marks)).save(folder / f"{name}.png")
    Image.fromarray(marked(MARKS["one"])[..., ::-1].copy()).save(folder / "swapped.png")
    return folder


@pytest.fixture(scope="module", autouse=True)
def strange_files(live_host: HostServer) -> Iterator[None]:
    """Packs and recognisers that are wrong in one way each, and a pack that was unpacked one level too deep."""
    models = live_host.base_dir / "models"
    packs, good = models / "insightface", models / "insightface" / "models" / PACK
    recognisers, network = models / "face_recognition", face_onnx.recogniser("another")
    shutil.copytree(good, packs / "deeper" / "deeper")
    shutil.copytree(good, packs / "models" / "without_detector")
    (packs / "models" / "without_detector" / "det_mini.onnx").unlink()
    shutil.copytree(good, packs / "models" / "without_recogniser")
    (packs / "models" / "without_recogniser" / "w600k_mini.onnx").unlink()
    shutil.copytree(good, packs / "models" / "damaged")
    (packs / "models" / "damaged" / "det_mini.onnx").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    (packs / "models" / "buffalo_l").mkdir()  # as an interrupted download leaves it
    (recognisers / "cut_off.onnx").write_bytes(network[: len(network) // 2])
    (recognisers / "genderage.onnx").write_bytes(face_onnx.gender_age("another"))
    (recognisers / "embedded.onnx").write_bytes(face_onnx.recogniser("another", normalises=True))
    (models / "detection" / "another_network.safetensors").write_bytes((recognisers / recipes.ENCODER).read_bytes())
    yield
    for folder in (
        packs / "deeper",
        *(
            packs / "models" / name
            for name in (
                "without_detector",
                "without_recogniser",
                "damaged",
                "buffalo_l",
            )
        ),
    ):
        shutil.rmtree(folder)
    for name in ("cut_off.onnx", "genderage.onnx", "embedded.onnx"):
        (recognisers / name).unlink()
    (models / "detection" / "another_network.safetensors").unlink()


def encode(graph: Graph, picture: str | list[Any] = "one", **changes: Any) -> Node:
    """The node on a picture of the input folder."""
    images = graph.add("LoadImage", image=f"{picture}.png")[0] if isinstance(picture, str) else picture
    inputs = {"images": images, "encoder": recipes.ENCODER} | BY_PACK
    if "face" in changes:
        inputs = {name: value for name, value in inputs.items() if not name.startswith("face__")}
    return graph.add("IdentityEncode", **inputs | changes)


def outputs(client: Client, picture: str = "one", **changes: Any) -> tuple[Saved, np.ndarray, str, np.ndarray]:
    """Identity, aligned faces, report and drawing of one run."""
    graph = Graph()
    node = encode(graph, picture, **changes)
    saves = [graph.save(node[slot]) for slot in range(4)]
    run: Run = client.run(graph)
    identity, aligned, report, boxes = (run.saved(save) for save in saves)
    return identity, aligned.array, report.tree[""], boxes.array


def in_unit_range(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture).float() / 255


def faces_of_insightface(folder: Path, picture: np.ndarray) -> list[Face]:
    """What the package itself finds with the same files, in BGR as it wants it."""
    app = pytest.importorskip("insightface.app")
    analysis = app.FaceAnalysis(
        name=str(folder), allowed_modules=["detection", "genderage"], providers=["CPUExecutionProvider"]
    )
    analysis.prepare(ctx_id=-1)
    return [face_of_insightface(face) for face in analysis.get(np.ascontiguousarray(picture[..., ::-1]))]


# Where the face is


def test_a_pack_finds_the_face_that_insightface_finds(client: Client, live_host: HostServer) -> None:
    pack = live_host.base_dir / "models" / "insightface" / "models" / PACK
    (face,) = faces_of_insightface(pack, marked(MARKS["one"]))
    identity, aligned, report, boxes = outputs(client)
    picture = in_unit_range(marked(MARKS["one"]))
    np.testing.assert_allclose(aligned[0], align_face(picture, face.points).crop, atol=1e-5)
    np.testing.assert_allclose(identity.arrays["/reference_crop"], cut_reference(picture, face.points), atol=1e-5)
    np.testing.assert_allclose(identity.arrays["/portrait"], cut_portrait(picture, face.box), atol=1e-5)
    assert identity.tree["/attributes/0/age_years"] == face_onnx.AGE_YEARS
    assert identity.tree["/attributes/0/sex"] == "female"
    assert identity.tree["/attributes/0/detection_score"] == pytest.approx(face.score)
    assert "about 31 years, looks female" in report
    assert "with its background: Stand-In expects white" in report
    assert boxes.shape == (1, 512, 512, 3)
    assert np.abs(boxes[0] - picture.numpy()).max() > 0.3


def test_a_picture_with_swapped_channels_is_not_the_same_picture(client: Client) -> None:
    graph = Graph()
    graph.hash(encode(graph, "swapped")[0])
    assert "no face that can be used (image 1: no face)" in client.fails(graph).message


def test_a_pack_one_level_too_deep_is_found(client: Client) -> None:
    deeper, *_ = outputs(client, face__pack="deeper")
    plain, *_ = outputs(client)
    np.testing.assert_array_equal(deeper.arrays["/z"], plain.arrays["/z"])


def test_the_packs_are_listed_and_the_published_ones_that_are_missing_too(client: Client) -> None:
    (_, about) = client.get("/object_info/IdentityEncode")["IdentityEncode"]["input"]["required"]["face"]
    (source,) = (option for option in about["options"] if option["key"] == "insightface pack")
    listed = source["inputs"]["required"]["pack"][1]["options"]
    assert {PACK, "deeper", "without_detector", "buffalo_l", "antelopev2"} <= set(listed)


def test_the_landmarker_of_the_host_finds_the_face_in_the_middle(client: Client) -> None:
    """The file answers the same for every picture: this shows the way through the host's node, not its eyesight."""
    identity, aligned, report, _ = outputs(client, "none", **BY_HOST)
    middle, side = complex(256, 256), 512
    five = tuple(middle + complex(*face_landmarker.FIVE[index]) * side for index in (468, 473, 1, 61, 291))
    face = face_of_points(five)
    np.testing.assert_allclose(aligned[0], align_face(in_unit_range(portrait()), five).crop, atol=2e-3)
    assert identity.tree["/attributes/0/yaw_deg"] == pytest.approx(0, abs=1)
    assert identity.tree["/attributes/0/pitch_deg"] == pytest.approx(0, abs=1)
    assert identity.tree["/attributes/0/roll_deg"] == pytest.approx(face.roll_deg, abs=0.1)
    assert identity.tree["/attributes/0/detection_score"] == pytest.approx(0.982, abs=1e-3)
    assert "faces: mediapipe mini_landmarker.safetensors, largest" in report


def test_given_points_and_the_picture_as_a_whole(client: Client) -> None:
    by_points, *_ = outputs(client, "none", face="landmarks", face__landmarks=recipes.LANDMARKS)
    assert by_points.arrays["/reference_crop"].shape == (256, 256, 3)
    whole, aligned, report, _ = outputs(client, "none", face="whole picture", encoder=OF_THE_PACK)
    assert whole.tree["/z"] is None
    assert whole.tree["/space"] is None
    np.testing.assert_allclose(whole.arrays["/portrait"], in_unit_range(portrait()), atol=1e-6)  # it has 512 px
    np.testing.assert_array_equal(aligned[0], whole.arrays["/portrait"])
    assert "only Stand-In can use it" in report


def test_an_aligned_crop_has_neither_a_reference_crop_nor_boxes(client: Client) -> None:
    graph = Graph()
    first = encode(graph, "none", face="landmarks", face__landmarks=recipes.LANDMARKS)
    again = encode(graph, first[1], face="aligned crop")
    saves = [graph.save(output) for output in (first[0], again[0], first[1], again[3])]
    run = client.run(graph)
    one, two, crop, boxes = (run.saved(save) for save in saves)
    np.testing.assert_array_equal(one.arrays["/z"], two.arrays["/z"])
    assert two.tree["/reference_crop"] is None
    np.testing.assert_array_equal(crop.array, boxes.array)


# Which of several faces


@pytest.mark.parametrize(
    ("pick", "taken"),
    [
        ({"pick": "largest"}, 0),
        ({"pick": "nearest to centre"}, 1),
        ({"pick": "index", "pick__index": 1}, 1),
        ({"pick": "index", "pick__index": 0}, 0),
        ({"pick": "box", "pick__box": "170 90 320 260"}, 1),
    ],
)
def test_the_face_that_is_meant_is_taken(client: Client, pick: dict[str, Any], taken: int) -> None:
    _, _, report, _ = outputs(client, "two", **pick)
    assert "image 1: 2 faces from left to right, 0: " in report
    assert f"; {taken} is taken" in report


def test_the_choice_may_be_left_out(client: Client) -> None:
    graph = Graph()
    save = graph.save(encode(graph)[2])
    assert "faces: insightface pack mini_pack, largest" in client.run(graph).saved(save).tree[""]


# The recogniser


@pytest.mark.parametrize("encoder", [IRESNET, OF_THE_PACK, "embedded.onnx"])
def test_an_onnx_recogniser_gives_the_vector_that_onnxruntime_gives(
    client: Client, live_host: HostServer, encoder: str
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    models = live_host.base_dir / "models"
    pack_file = models / "insightface" / "models" / PACK / "w600k_mini.onnx"
    path = pack_file if encoder == OF_THE_PACK else models / "face_recognition" / encoder
    identity, aligned, report, _ = outputs(client, encoder=encoder)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    pixels = aligned.transpose(0, 3, 1, 2) * 255
    blob = pixels if encoder == "embedded.onnx" else (pixels - 127.5) / 127.5
    raw = session.run(None, {"input": blob.astype(np.float32)})[0][0]
    np.testing.assert_allclose(identity.arrays["/z"], raw / np.linalg.norm(raw), atol=1e-5)
    assert identity.tree["/space/name"] == (f"{PACK}/{path.name}" if encoder == OF_THE_PACK else encoder)
    assert identity.tree["/space/sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert identity.tree["/space/family"] == "iResNet"
    assert "(iResNet, ONNX)" in report


# Several pictures


def test_a_video_is_sampled_and_its_copies_count_once(client: Client) -> None:
    graph = Graph()
    frames = graph.add("RepeatImageBatch", image=graph.add("LoadImage", image="one.png")[0], amount=31)[0]
    node = encode(graph, frames)
    saves = [graph.save(node[slot]) for slot in range(4)]
    run = client.run(graph)
    identity, aligned, report, boxes = (run.saved(save) for save in saves)
    assert identity.arrays["/references"].shape == (1, 512)
    assert aligned.array.shape == (1, 112, 112, 3)
    assert boxes.array.shape == (16, 512, 512, 3)
    assert "sampled evenly: 16 of 31 images, these: 1, 3, 5," in report.tree[""]
    assert report.tree[""].count("which counts once") == 15


@pytest.mark.parametrize("way", ["mean", "best", "tokens"])
def test_the_ways_to_combine(client: Client, way: str) -> None:
    """The crops of two places of one picture agree enough for the miniature recogniser, or the test says so."""
    graph = Graph()
    image = graph.add("LoadImage", image="none.png")[0]
    pair = graph.add("ImageBatch", image1=image, image2=image)[0]
    moved = " ".join(str(float(number) + 6) for number in recipes.LANDMARKS.split())
    node = encode(graph, pair, face="landmarks", face__landmarks=f"{recipes.LANDMARKS}\n{moved}", combine=way)
    saves = [graph.save(node[slot]) for slot in range(3)]
    run = client.run(graph)
    arrays, report = run.saved(saves[0]).arrays, run.saved(saves[2]).tree[""]
    first, second = arrays["/references"]
    assert "combined: 2 of 2 references" in report
    if way == "best":
        best = int(report.split("the best is image ")[1][0]) - 1
        np.testing.assert_array_equal(arrays["/z"], arrays["/references"][best])
    else:
        np.testing.assert_allclose(arrays["/z"], (first + second) / np.linalg.norm(first + second), atol=1e-6)
    np.testing.assert_array_equal(arrays["/embeddings"], arrays["/references"] if way == "tokens" else [arrays["/z"]])


# What is refused, word for word


def with_images(**spec: Any) -> Callable[[Graph], dict[str, Any]]:
    return lambda graph: {"picture": graph.make(**spec)}


def with_mask(**spec: Any) -> Callable[[Graph], dict[str, Any]]:
    return lambda graph: {"foreground": graph.make(**spec)}


WHERE = "<base>/models/insightface"
RECOGNISER = "a recogniser that makes 512 numbers of one face of 112 x 112 px"
LANDMARKER = "the weights of ComfyUI's MediaPipe face landmarker"
A_FACE = "a face of 24 px or more, better 112"

REFUSED: list[tuple[dict[str, Any] | Callable[[Graph], dict[str, Any]], str, str, str]] = [
    ({"picture": "none"}, "images", "no face that can be used (image 1: no face)", A_FACE),
    (
        {"picture": "two", "pick": "index", "pick__index": 5},
        "images",
        "no face that can be used (image 1: no face 5, only 0 to 1)",
        A_FACE,
    ),
    (
        {"picture": "two", "pick": "box", "pick__box": "400 0 500 50"},
        "images",
        "no face that can be used (image 1: no face in the box)",
        A_FACE,
    ),
    ({"pick": "box", "pick__box": "1 2"}, "box", "'1 2'", "left, top, right and bottom of the face in pixels"),
    ({"face__pack": "antelopev2"}, "pack", "no pack 'antelopev2'", f"{WHERE}/models/antelopev2/scrfd_10g_bnkps.onnx"),
    ({"face__pack": "buffalo_l"}, "pack", "no pack 'buffalo_l'", f"{WHERE}/models/buffalo_l/det_10g.onnx"),
    (
        {"face__pack": "without_detector"},
        "pack",
        "a pack 'without_detector' without a detector that gives five points: genderage.onnx (genderage), "
        "w600k_mini.onnx (recognition)",
        f"{WHERE}/models/without_detector/det_10g.onnx",
    ),
    (
        {"face__pack": "damaged"},
        "pack",
        "'det_mini.onnx', which cannot be read as ONNX (DecodeError)",
        "a complete .onnx file",
    ),
    (
        {"face__pack": "without_recogniser", "encoder": OF_THE_PACK},
        "encoder",
        "the pack 'without_recogniser' without a recogniser",
        RECOGNISER,
    ),
    (
        {"encoder": OF_THE_PACK, "face": "aligned crop"},
        "encoder",
        "'recogniser of the insightface pack' with face 'aligned crop'",
        "face 'insightface pack' with it",
    ),
    (
        {"encoder": "cut_off.onnx"},
        "encoder",
        "'cut_off.onnx', which cannot be read as ONNX (DecodeError)",
        "a complete .onnx file",
    ),
    (
        {"encoder": "genderage.onnx"},
        "encoder",
        "'genderage.onnx', a network for genderage (it takes any x 3 x 96 x 96 and has 1 outputs)",
        RECOGNISER,
    ),
    (
        {"face": "mediapipe", "face__landmarker": "another_network.safetensors"},
        "landmarker",
        "'another_network.safetensors' without detector_short., detector_full., mesh., blendshapes., topology., "
        "canonical_vertices, procrustes_indices, procrustes_weights",
        LANDMARKER,
    ),
    (
        with_mask(tensor=[1, 64, 64], fill="unit"),
        "foreground",
        "a mask of shape (1, 64, 64)",
        "1 of 512 x 512 px, as the images",
    ),
    (with_mask(tensor=[1, 512, 512], fill="nan"), "foreground", "NaN or infinite values", "values from 0 to 1"),
    (with_images(tensor=[1, 64, 64, 3], fill="nan"), "images", "NaN or infinite pixels", "finite pixels"),
    (
        with_images(tensor=[2, 64, 64, 3], fill="unit"),
        "images",
        "no face that can be used (image 1: no face; image 2: no face)",
        A_FACE,
    ),
]


@pytest.mark.parametrize(("spoilt", "name", "found", "wanted"), REFUSED, ids=lambda value: str(value)[:60])
def test_the_message_says_what_was_found_and_wanted(
    client: Client, live_host: HostServer, spoilt: Any, name: str, found: str, wanted: str
) -> None:
    graph = Graph()
    inputs = spoilt(graph) if callable(spoilt) else spoilt
    graph.hash(encode(graph, **inputs)[0])
    message = client.fails(graph).message
    expected = f"IdentityEncode: {name}: found {found}; wanted {wanted}. ".replace("<base>", str(live_host.base_dir))
    assert message.startswith(expected), message
    assert re.fullmatch(r"[A-Z][^\n]{9,}\.", message.removeprefix(expected)), message


def test_two_persons_are_refused(client: Client) -> None:
    graph = Graph()
    noise = graph.make(tensor=[1, 512, 512, 3], fill="unit")
    pair = graph.add("ImageBatch", image1=graph.add("LoadImage", image="none.png")[0], image2=noise)[0]
    lines = f"{recipes.LANDMARKS}\n{recipes.LANDMARKS}"
    graph.hash(encode(graph, pair, face="landmarks", face__landmarks=lines)[0])
    message = client.fails(graph).message
    assert re.match(r"IdentityEncode: images: found references that show different persons: image 1 \(cos ", message)


# Without the packages


@pytest.mark.parametrize(
    ("package", "needed_for"),
    [("insightface", "an insightface pack"), ("onnxruntime", "an insightface pack"), ("onnx", "an .onnx file")],
)
def test_a_missing_package_is_named(
    host_dir: Path, models_dir: Path, tmp_path: Path, package: str, needed_for: str
) -> None:
    """The node's own code in a child process in which the import fails."""
    (tmp_path / f"{package}.py").write_text(f'raise ImportError("No module named {package}")\n', encoding="ascii")
    (tmp_path / "wancast").symlink_to(ROOT)
    code = f"""
import sys
sys.path[:0] = [{str(tmp_path)!r}, {str(host_dir)!r}]
sys.argv = ["main.py", "--cpu", "--models-directory", {str(models_dir)!r}]
import comfy.options
comfy.options.enable_args_parsing()
import folder_paths
folder_paths.models_dir = {str(models_dir)!r}
from wancast.nodes.host import faces
try:
    faces.load_pack(faces.read_pack({PACK!r}), with_recogniser=True)
except RuntimeError as error:
    print("SAID:", error)
"""
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    wanted = f"SAID: {needed_for} needs the Python package {package!r}. Install it with: pip install {package}"
    assert wanted in child.stdout, child.stderr
