"""IdentityEncode with every source of faces, kind of recogniser and background, on the real host and insightface."""

from __future__ import annotations

import hashlib
import math
import re
import shutil
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from demo.miniature import face_landmarker, face_onnx
from devtools.server import HostServer
from tests.host import hostile_onnx, recipes
from tests.host.live import ROOT, Client, Graph, Node, Saved
from wan_core.identity.align import align_face, cut_reference
from wan_core.identity.faces import face_of_insightface, face_of_points
from wan_core.identity.images import read_pictures
from wan_core.identity.portrait import cut_portrait
from wan_core.identity.sources import parse_landmarks

PACK, IRESNET, OF_THE_PACK = "mini_pack", "mini_iresnet.onnx", "recogniser of the insightface pack"
NO_RECOGNISER = "none (for Stand-In)"
BY_PACK = {"face": "insightface pack", "face__pack": PACK}
BY_HOST = {"face": "mediapipe", "face__landmarker": "mini_landmarker.safetensors"}
BY_POINTS = {"face": "landmarks", "face__landmarks": recipes.LANDMARKS}
FIVE_POINTS = parse_landmarks(recipes.LANDMARKS, read_pictures(torch.zeros(1, 512, 512, 3)))[0]
FACE_SOURCES = ["auto", "insightface pack", "mediapipe", "landmarks", "whole picture", "aligned crop"]
AUTOMATIC = [("insightface pack", {"face__pack": "a_pack"}), ("auto", {})]  # the first of the packs by name
MARKS = {"one": [(247, 196)], "two": [(247, 196), (104, 320)], "none": []}  # where the pack is to find a nose
LEFT, TOP = 150, 60  # of a part of the portrait with all of the face
ORIENTATION, TURN_CLOCKWISE = 0x0112, 6  # the EXIF tag of a camera that was held upright
SPOILT = ("a_recogniser_alone", "without_recogniser", "spoilt", "looping", "of_no_age")
PERSON = (slice(90, 300), slice(160, 350))  # rows and columns of the portrait that a cut-out of it keeps


def portrait(marks: str = "none") -> np.ndarray:
    """The picture of the tests with an orange mark at each nose that the miniature pack is to find: h w 3 bytes."""
    picture = np.array(Image.open(ROOT / "tests" / "data" / "portrait.png").convert("RGB"))
    for left, top in MARKS[marks]:
        picture[top : top + 16, left : left + 16] = (255, 128, 0)
    return picture


def in_unit_range(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture).float() / 255


@pytest.fixture(scope="module", autouse=True)
def pictures(live_host: HostServer) -> None:
    """The marked portraits, and one that is transparent around the person, in the host's input folder."""
    folder = live_host.base_dir / "input"
    for name in MARKS:
        Image.fromarray(portrait(name)).save(folder / f"{name}.png")
    Image.fromarray(portrait()[TOP:360, LEFT:400]).save(folder / "part.png")
    turned, exif = Image.fromarray(portrait("one")).rotate(90), Image.Exif()
    exif[ORIENTATION] = TURN_CLOCKWISE
    turned.save(folder / "turned.png", exif=exif)
    alpha = np.zeros((512, 512, 1), dtype=np.uint8)
    alpha[PERSON] = 255
    Image.fromarray(np.concatenate((portrait(), alpha), axis=2)).save(folder / "cut_out.png")


@pytest.fixture(scope="module", autouse=True)
def strange_files(live_host: HostServer) -> Iterator[None]:
    """Packs and recognisers that are wrong in one way each, and a pack that was unpacked one level too deep."""
    models = live_host.base_dir / "models"
    packs, good = models / "insightface", models / "insightface" / "models" / PACK
    recognisers, network = models / "face_recognition", face_onnx.recogniser("another")
    spoilt = [packs / "models" / name for name in SPOILT]
    for folder in (packs / "a_pack" / "a_pack", *spoilt):
        shutil.copytree(good, folder)
    (spoilt[0] / "det_mini.onnx").unlink()
    (spoilt[1] / "w600k_mini.onnx").unlink()
    interrupted = packs / "models" / "buffalo_l"
    interrupted.mkdir()
    contents = {
        spoilt[3] / "genderage.onnx": hostile_onnx.FILES["loop.onnx"](),
        spoilt[4] / "genderage.onnx": hostile_onnx.not_a_number(side_px=96, numbers=3),
        spoilt[2] / "det_mini.onnx": b"version https://git-lfs.github.com/spec/v1\n",
        recognisers / "cut_off.onnx": network[: len(network) // 2],
        recognisers / "no_text.onnx": network.replace(b"Conv_0", b"Conv\xff0"),
        recognisers / "genderage.onnx": face_onnx.gender_age("another"),
        recognisers / "embedded.onnx": face_onnx.recogniser("another", normalises=True),
        models / "detection" / "another_network.safetensors": (recognisers / recipes.ENCODER).read_bytes(),
    }
    for path, content in contents.items():
        path.write_bytes(content)
    hostile = hostile_onnx.write(recognisers)
    yield
    for path in (*contents, *hostile):
        path.unlink()
    for folder in (packs / "a_pack", *spoilt, interrupted):
        shutil.rmtree(folder)


def encode(graph: Graph, picture: str | list[Any] = "one", **changes: Any) -> Node:
    """The node on a picture of the input folder."""
    images = graph.add("LoadImage", image=f"{picture}.png")[0] if isinstance(picture, str) else picture
    source = {} if "face" in changes else BY_PACK
    return graph.add("IdentityEncode", **{"images": images, "encoder": recipes.ENCODER} | source | changes)


def outputs(client: Client, graph: Graph, node: Node) -> tuple[Saved, np.ndarray, str, np.ndarray]:
    """Identity, aligned faces, report and drawing of a run."""
    identity, aligned, report, boxes = client.values(graph, [node[slot] for slot in range(4)])
    return identity, aligned.array, report.tree[""], boxes.array


def encoded(client: Client, picture: str = "one", **changes: Any) -> tuple[Saved, np.ndarray, str, np.ndarray]:
    """The outputs for a picture of the input folder."""
    graph = Graph()
    return outputs(client, graph, encode(graph, picture, **changes))


# Where the face is


def test_a_pack_finds_the_face_that_insightface_finds(client: Client, live_host: HostServer) -> None:
    """As the package itself finds it with the same files, in BGR as it wants it."""
    app = pytest.importorskip("insightface.app")
    pack = live_host.base_dir / "models" / "insightface" / "models" / PACK
    modules = {"allowed_modules": ["detection", "genderage"], "providers": ["CPUExecutionProvider"]}
    analysis = app.FaceAnalysis(name=str(pack), **modules)
    analysis.prepare(ctx_id=-1)
    (face,) = map(face_of_insightface, analysis.get(np.ascontiguousarray(portrait("one")[..., ::-1])))
    identity, aligned, report, boxes = encoded(client)
    picture = in_unit_range(portrait("one"))
    np.testing.assert_allclose(aligned[0], align_face(picture, face.points).crop, atol=1e-5)
    np.testing.assert_allclose(identity.arrays["/reference_crop"], cut_reference(picture, face.points), atol=1e-5)
    np.testing.assert_allclose(identity.arrays["/portrait"], cut_portrait(picture, face.box), atol=1e-5)
    assert identity.tree["/attributes/0/age_years"] == face_onnx.AGE_YEARS
    assert identity.tree["/attributes/0/sex"] == "female"
    assert identity.tree["/attributes/0/detection_score"] == pytest.approx(face.score)
    assert "faces: insightface pack mini_pack, largest" in report
    assert "about 31 years, looks female" in report
    assert "with its background: Stand-In expects white" in report
    assert boxes.shape == (1, 512, 512, 3)
    assert np.abs(boxes[0] - picture.numpy()).max() > 0.3


def test_packs_are_listed_with_one_that_lies_a_level_too_deep_and_the_published_ones(client: Client) -> None:
    (_, about) = client.get("/object_info/IdentityEncode")["IdentityEncode"]["input"]["required"]["face"]
    (source,) = (option for option in about["options"] if option["key"] == "insightface pack")
    listed = source["inputs"]["required"]["pack"][1]["options"]
    assert {PACK, "a_pack", "a_recogniser_alone", "buffalo_l", "antelopev2"} <= set(listed)
    deeper, plain = encoded(client, face__pack="a_pack")[0], encoded(client)[0]
    np.testing.assert_array_equal(deeper.arrays["/z"], plain.arrays["/z"])


def test_the_landmarker_of_the_host_finds_the_face_in_the_middle(client: Client) -> None:
    """The file answers the same for every picture: this shows the way through the host's node, not its eyesight."""
    identity, aligned, report, _ = encoded(client, "none", **BY_HOST)
    middle, side = complex(256, 256), 512
    five = tuple(middle + complex(*face_landmarker.FIVE[index]) * side for index in (468, 473, 1, 61, 291))
    np.testing.assert_allclose(aligned[0], align_face(in_unit_range(portrait()), five).crop, atol=2e-3)
    assert identity.tree["/attributes/0/yaw_deg"] == pytest.approx(0, abs=1)
    assert identity.tree["/attributes/0/pitch_deg"] == pytest.approx(0, abs=1)
    assert identity.tree["/attributes/0/roll_deg"] == pytest.approx(face_of_points(five).roll_deg, abs=0.1)
    assert identity.tree["/attributes/0/detection_score"] == pytest.approx(0.982, abs=1e-3)
    assert "faces: mediapipe mini_landmarker.safetensors, largest" in report


def test_the_picture_as_a_whole_needs_no_recogniser(client: Client) -> None:
    whole, aligned, report, _ = encoded(client, "none", face="whole picture", encoder=OF_THE_PACK)
    assert (whole.tree["/z"], whole.tree["/space"]) == (None, None)
    np.testing.assert_allclose(whole.arrays["/portrait"], in_unit_range(portrait()), atol=1e-6)  # it has 512 px
    np.testing.assert_array_equal(aligned[0], whole.arrays["/portrait"])
    assert "only Stand-In can use it" in report


def test_a_picture_that_its_camera_marked_as_turned_stands_upright(client: Client) -> None:
    upright, turned = (encoded(client, name)[0] for name in ("one", "turned"))
    np.testing.assert_array_equal(turned.arrays["/z"], upright.arrays["/z"])


def test_auto_takes_the_pack_that_is_there(client: Client) -> None:
    by_pack, automatic = (encoded(client, face=face, encoder=OF_THE_PACK, **named) for face, named in AUTOMATIC)
    np.testing.assert_array_equal(automatic[0].arrays["/z"], by_pack[0].arrays["/z"])
    assert automatic[2] == by_pack[2]
    (_, about) = client.get("/object_info/IdentityEncode")["IdentityEncode"]["input"]["required"]["face"]
    assert [option["key"] for option in about["options"]] == FACE_SOURCES


@pytest.mark.parametrize("pick", [{"pick": "index", "pick__index": 1}, {"pick": "box", "pick__box": "170 90 320 260"}])
def test_the_face_that_is_meant_is_taken(client: Client, pick: dict[str, Any]) -> None:
    _, _, report, _ = encoded(client, "two", **pick)
    assert "image 1: 2 faces from left to right, 0: " in report
    assert "; 1 is taken" in report


# The recogniser


@pytest.mark.parametrize("encoder", [IRESNET, OF_THE_PACK, "embedded.onnx"])
def test_an_onnx_recogniser_gives_the_vector_that_onnxruntime_gives(
    client: Client, live_host: HostServer, encoder: str
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    models = live_host.base_dir / "models"
    pack_file = models / "insightface" / "models" / PACK / "w600k_mini.onnx"
    path = pack_file if encoder == OF_THE_PACK else models / "face_recognition" / encoder
    identity, aligned, report, _ = encoded(client, encoder=encoder)
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
    identity, aligned, report, boxes = outputs(client, graph, encode(graph, frames))
    assert identity.arrays["/references"].shape == (1, 512)
    assert aligned.shape == (1, 112, 112, 3)
    assert boxes.shape == (16, 512, 512, 3)
    assert "sampled evenly: 16 of 31 images, these: 1, 3, 5," in report
    assert report.count("which counts once") == 15


def test_a_list_of_pictures_of_different_sizes_is_one_person(client: Client) -> None:
    graph = Graph()
    pictures = [graph.add("LoadImage", image=f"{name}.png")[0] for name in ("none", "part")]
    listed = graph.add("CreateList", inputs__input0=pictures[0], inputs__input1=pictures[1])[0]
    moved = (str(float(number) - (LEFT, TOP)[at % 2]) for at, number in enumerate(recipes.LANDMARKS.split()))
    points = BY_POINTS | {"face__landmarks": f"{recipes.LANDMARKS}\n{' '.join(moved)}"}
    both, alone = encode(graph, listed, **points, combine="tokens"), encode(graph, pictures[0], **BY_POINTS)
    identity, aligned, report, boxes, single = client.values(graph, [*(both[slot] for slot in range(4)), alone[0]])
    np.testing.assert_allclose(identity.arrays["/z"], single.arrays["/z"], atol=1e-4)  # the same face, twice
    assert (aligned.array.shape, boxes.array.shape) == ((1, 112, 112, 3), (2, 512, 512, 3))
    assert report.tree[""].count("which counts once") == 1


def test_the_references_may_stay_side_by_side(client: Client) -> None:
    """The crops of two places of one picture agree enough for the miniature recogniser, or the test says so."""
    graph = Graph()
    image = graph.add("LoadImage", image="none.png")[0]
    pair = graph.add("ImageBatch", image1=image, image2=image)[0]
    moved = " ".join(str(float(number) + 6) for number in recipes.LANDMARKS.split())
    points = BY_POINTS | {"face__landmarks": f"{recipes.LANDMARKS}\n{moved}"}
    identity, _, report, _ = outputs(client, graph, encode(graph, pair, **points, combine="tokens"))
    assert "combined: 2 of 2 references" in report
    np.testing.assert_array_equal(identity.arrays["/embeddings"], identity.arrays["/references"])
    mean = identity.arrays["/references"].sum(axis=0)
    np.testing.assert_allclose(identity.arrays["/z"], mean / np.linalg.norm(mean), atol=1e-6)


# What Stand-In gets: the background, and an identity without a recogniser


def test_the_background_of_a_cut_out_becomes_white(client: Client) -> None:
    graph = Graph()
    picture = graph.add("LoadImage", image="cut_out.png")
    foreground = graph.add("InvertMask", mask=picture[1])[0]
    identity, _, report, _ = outputs(client, graph, encode(graph, picture[0], **BY_POINTS, foreground=foreground))
    white = torch.ones(512, 512, 3)
    white[PERSON] = in_unit_range(portrait())[PERSON]
    wanted = cut_portrait(white, face_of_points(FIVE_POINTS).box)
    np.testing.assert_allclose(identity.arrays["/portrait"], wanted, atol=2e-6)
    assert "its background white" in report


def test_stand_in_needs_no_recogniser(client: Client) -> None:
    """The same portrait, and so the same video, as with one."""
    graph = Graph()
    nodes = [encode(graph, "none", **BY_POINTS, encoder=encoder) for encoder in (recipes.ENCODER, NO_RECOGNISER)]
    files = {"ip_layers": "none", "resampler": "none", "stand_in": "mini_stand_in_high.safetensors"}
    parts = {"adapter": recipes.adapter(graph, **files), "vae": recipes.vae21(graph)}
    model = recipes.model(graph)
    models = [*(recipes.locked(graph, model, identity=node[0], **parts) for node in nodes), model]
    latents = [recipes.stock_sample(graph, sampled, steps=2) for sampled in models]
    outputs = [node[slot] for node in nodes for slot in range(3)]
    one, other, plain, whole, crops, _, bare, crop, report = client.values(graph, [*latents, *outputs])
    assert one == other != plain
    assert (bare.tree["/z"], bare.tree["/space"]) == (None, None)
    np.testing.assert_array_equal(bare.arrays["/portrait"], whole.arrays["/portrait"])
    np.testing.assert_array_equal(crop.array, crops.array)
    np.testing.assert_allclose(crop.array[0], align_face(in_unit_range(portrait()), FIVE_POINTS).crop, atol=2e-6)
    assert report.tree[""].startswith("no recogniser: this identity has no vectors; Stand-In can use it, and ")


def test_lynx_refuses_an_identity_without_vectors(client: Client) -> None:
    graph = Graph()
    bare = encode(graph, "none", **BY_POINTS, encoder=NO_RECOGNISER)[0]
    graph.hash(recipes.locked(graph, recipes.model(graph), identity=bare))
    message = client.fails(graph).message
    assert message.startswith("IDLock: identity: found an identity without vectors; wanted one with vectors, for Lynx.")


# What is refused, word for word


WHERE = "<base>/models/insightface/models"
RECOGNISER = "a recogniser that makes 512 numbers of one face of 112 x 112 px"
LANDMARKER = "the weights of ComfyUI's MediaPipe face landmarker"
NO_DETECTOR = (
    "a pack 'a_recogniser_alone' without a detector that gives five points: 'genderage.onnx' (genderage), "
    "'w600k_mini.onnx' (recognition)"
)
NO_LANDMARKER = (
    "'another_network.safetensors' without detector_short., detector_full., mesh., blendshapes., topology., "
    "canonical_vertices, procrustes_indices, procrustes_weights"
)
GENDERAGE = "'genderage.onnx', a network for genderage (it takes any x 3 x 96 x 96 and has 1 outputs)"
WITHOUT_PACK = {"encoder": OF_THE_PACK, "face": "aligned crop"}
NO_RECOGNISER_IN_IT = {"face__pack": "without_recogniser", "encoder": OF_THE_PACK}
ANOTHER_NETWORK = {"face": "mediapipe", "face__landmarker": "another_network.safetensors"}

WHOLE_FILE, UNREADABLE = "a complete .onnx file", "which cannot be read as ONNX (a field that is {})"
CUT_OFF, FOREIGN = (UNREADABLE.format(words) for words in ("longer than its message", "written in no known way"))
NO_FACE = "no face that can be used (image 1: no face)"

PLAIN = "a plain network for faces with all its weights in the file"
OUTSIDE = "whose weight 'row' lies in another file or is of an unknown type"
NESTED = "with graphs inside its graph, or with weights that are not plain"
HOSTILE = {
    "loop.onnx": ("with the operator 'Loop', which no face network needs", PLAIN),
    "function.onnx": (NESTED, PLAIN),
    "external.onnx": (OUTSIDE, PLAIN),
    "constant_terabytes.onnx": ("which makes 1.1e+12 numbers of one picture", PLAIN),
    "slow_to_load.onnx": ("which computes with constants alone", PLAIN),
    "doubled_shape.onnx": ("with more numbers that say shapes than a face network has", PLAIN),
    "terabytes.onnx": ("which cannot be run (Fail)", "a network for faces that runs in 2 GiB"),
    "halves.onnx": ("which takes pictures as float16", RECOGNISER),
}
NOT_USED = "that insightface cannot use (ValueError)"
NAN = "an embedding of length nan from 'nan.onnx' for face 1"

REFUSED: list[tuple[dict[str, Any], str, str, str]] = [
    ({"picture": "none"}, "images", NO_FACE, "a face of 24 px or more, better 112"),
    ({"face__pack": "antelopev2"}, "pack", "no pack 'antelopev2'", f"{WHERE}/antelopev2/scrfd_10g_bnkps.onnx"),
    ({"face__pack": "buffalo_l"}, "pack", "no pack 'buffalo_l'", f"{WHERE}/buffalo_l/det_10g.onnx"),
    ({"face__pack": "a_recogniser_alone"}, "pack", NO_DETECTOR, f"{WHERE}/a_recogniser_alone/det_10g.onnx"),
    ({"face__pack": "spoilt"}, "pack", f"'det_mini.onnx', {FOREIGN}", WHOLE_FILE),
    ({"face__pack": "looping"}, "pack", f"'genderage.onnx', {HOSTILE['loop.onnx'][0]}", PLAIN),
    (
        {"face__pack": "of_no_age"},
        "pack",
        "a pack 'of_no_age' that insightface cannot use (ValueError)",
        "a complete pack",
    ),
    (NO_RECOGNISER_IN_IT, "encoder", "the pack 'without_recogniser' without a recogniser", RECOGNISER),
    (WITHOUT_PACK, "encoder", f"{OF_THE_PACK!r} with face 'aligned crop'", "face 'insightface pack' with it"),
    ({"encoder": "cut_off.onnx"}, "encoder", f"'cut_off.onnx', {CUT_OFF}", WHOLE_FILE),
    (
        {"encoder": "no_text.onnx"},
        "encoder",
        "'no_text.onnx', which cannot be read as ONNX (a name that is no text)",
        WHOLE_FILE,
    ),
    ({"encoder": "genderage.onnx"}, "encoder", GENDERAGE, RECOGNISER),
    *(({"encoder": name}, "encoder", f"'{name}', {found}", why) for name, (found, why) in HOSTILE.items()),
    ({"encoder": "nan.onnx"}, "encoder", NAN, "finite embeddings"),
    (ANOTHER_NETWORK, "landmarker", NO_LANDMARKER, LANDMARKER),
]


@pytest.mark.parametrize(("spoilt", "name", "found", "wanted"), REFUSED, ids=lambda value: str(value)[:60])
def test_the_message_says_what_was_found_and_wanted(
    client: Client, live_host: HostServer, spoilt: dict[str, Any], name: str, found: str, wanted: str
) -> None:
    graph = Graph()
    graph.hash(encode(graph, **spoilt)[0])
    message = client.fails(graph).message
    expected = f"IdentityEncode: {name}: found {found}; wanted {wanted}. ".replace("<base>", str(live_host.base_dir))
    assert message.startswith(expected), message
    fix = message.removeprefix(expected)
    assert re.fullmatch(r"[A-Z][^\n]{9,}\.", fix) and str(live_host.base_dir) not in fix, message


@pytest.mark.parametrize(("name", "wanted"), [("images", "at least one image"), ("face.landmarks", "one value")])
def test_an_empty_list_is_named(client: Client, name: str, wanted: str) -> None:
    graph = Graph()
    nothing = {name.replace(".", "__"): graph.add("WanCastProbeNothing")[0]}
    graph.hash(encode(graph, "none", **BY_POINTS | nothing)[0])
    message = client.fails(graph).message
    assert message.startswith(f"IdentityEncode: {name.split('.')[-1]}: found an empty list; wanted {wanted}. ")


def test_cancelling_ends_a_recogniser_in_the_middle_of_its_run(client: Client) -> None:
    graph, asked_s = Graph(), math.inf
    graph.hash(encode(graph, encoder="slow.onnx")[0])
    for event, data in client.events(graph):
        if event == "progress" and asked_s == math.inf:
            client.post("/interrupt", {"prompt_id": data["prompt_id"]})
            asked_s = time.monotonic()
    assert event == "execution_interrupted"
    assert time.monotonic() - asked_s < hostile_onnx.SECONDS / 5
