"""WanCastIdentityCheck on the real host: pictures and films, finders of faces, modes, and what the node shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from devtools import client as api
from devtools.server import HostServer
from tests.host import recipes
from tests.host.live import ROOT, Client, Graph, Node

PACK = {"face": "insightface pack", "face.pack": "mini_pack"}
MARKS = {"hero": [(247, 196)], "both": [(247, 196), (104, 320)], "nobody": []}  # where the pack is to find a nose
OUTPUTS = range(7)


@pytest.fixture(scope="module", autouse=True)
def clips(live_host: HostServer) -> None:
    """Pictures with an orange mark at each nose that the miniature pack is to find, and a film of one of them."""
    folder = live_host.base_dir / "input"
    for name, marks in MARKS.items():
        picture = np.array(Image.open(ROOT / "tests" / "data" / "portrait.png").convert("RGB"))
        for left, top in marks:
            picture[top : top + 16, left : left + 16] = (255, 128, 0)
        Image.fromarray(picture).save(folder / f"{name}.png")
    film(folder / "hero.mkv", np.array(Image.open(folder / "hero.png")))


def film(path: Any, picture: np.ndarray) -> None:
    """Five times the picture, without loss."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=16, width=picture.shape[1], height=picture.shape[0], pix_fmt="bgr0")
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def picture(graph: Graph, name: str, frames: int = 3) -> list[Any]:
    """A clip that shows a picture of the input folder."""
    image = graph.add("LoadImage", image=f"{name}.png")[0]
    return graph.add("RepeatImageBatch", image=image, amount=frames)[0]


def person(graph: Graph, index: int) -> list[Any]:
    """The identity of one of the two in the picture of both."""
    source = {"images": picture(graph, "both", 1), "pick": "index", "pick.index": index} | PACK
    return graph.add("IdentityEncode", encoder=recipes.ENCODER, **source)[0]


def check(graph: Graph, *clips: list[Any], cast: tuple[list[Any], ...] = (), **changes: Any) -> Node:
    inputs = {"scorer": recipes.ENCODER, "mode": "plain", "mode.frames": 3} | PACK
    inputs |= {f"clips.clip_{number}": clip for number, clip in enumerate(clips, start=1)}
    inputs |= {f"characters.character_{number}": who for number, who in enumerate(cast, start=1)}
    return graph.add("WanCastIdentityCheck", **inputs | changes)


def values(client: Client, graph: Graph, node: Node) -> Iterator[Any]:
    """The outputs of the node: numbers and the report as they are, pictures as arrays."""
    for saved in client.values(graph, [node[slot] for slot in OUTPUTS]):
        yield saved.tree[""] if not saved.arrays else saved.array


def test_frames_and_a_film_of_one_person_are_one_person_and_the_node_shows_it(client: Client) -> None:
    graph = Graph()
    shots = graph.add("LoadVideo", file="hero.mkv")[0], picture(graph, "hero")
    made = graph.add("CreateVideo", images=shots[1], fps=16.0)[0]
    node = check(graph, *shots, made, cast=(person(graph, 1),))
    moved = {"clips.clip_3": "clips.clip_4", "characters.character_1": "characters.character_3"}
    given = {moved.get(name, name): value for name, value in graph.prompt[node.id]["inputs"].items()}
    graph.prompt[node.id]["inputs"] = dict(reversed(given.items()))  # they keep their order and their numbers
    saved = [graph.save(node[slot]) for slot in OUTPUTS]
    run = client.run(graph)
    passed, mean, minimum, found, report = (run.saved(one).tree[""] for one in saved[:5])
    assert (passed, found) == (True, 1.0)
    assert mean == pytest.approx(1, abs=1e-4)  # the orange mark of the other face lies outside of the crop
    assert minimum == pytest.approx(1, abs=1e-4)
    for words in (
        "passed: character 3 kept in 3 clips",
        "clip 1: 3 of 5 frames looked at, faces in 3 of them",
        "clip 4: 3 of 3 frames looked at, faces in 3 of them",
        "note: character 3 was made with the recogniser that scores it",
        "between clips: mean 1.000, minimum 1.000 of 3 pairs",
    ):
        assert words in report
    pictures = [run.saved(one).array for one in saved[5:]]
    assert all(one.shape[::3] == (1, 3) and one.std() > 0 for one in pictures)
    shown = run.output(node)["images"]
    assert [api.view(client.url, one)[1:4] for one in shown] == [b"PNG"] * 2


def test_two_people_at_once_are_each_their_own_character(client: Client) -> None:
    graph = Graph()
    node = check(graph, picture(graph, "both"), cast=(person(graph, 0), person(graph, 1)))
    passed, mean, _, found, report, *_ = values(client, graph, node)
    assert (passed, found) == (True, 1.0)
    assert mean == pytest.approx(1, abs=1e-4)
    assert "passed: 2 characters kept in 1 clip" in report


def test_a_clip_without_a_face_fails_in_words_and_has_no_numbers(client: Client) -> None:
    graph = Graph()
    node = check(graph, picture(graph, "nobody"), cast=(person(graph, 1),))
    passed, mean, minimum, found, report, *pictures = values(client, graph, node)
    assert (passed, mean, minimum, found) == (False, None, None, 0.0)
    assert report.startswith("not passed: no face that can be recognised was found in any of the frames")
    assert all(one.std() > 0 for one in pictures)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (
            {"mode": "opens2v", "mode.curricular": recipes.ENCODER},
            [
                "FaceSim-Cur of all clips: 1.0000",
                "insightface mini_pack, det_size 320",
                "note: the protocol was published",
            ],
        ),
        (
            {"mode": "vistory", "scorer": "recogniser of the insightface pack"},
            [
                "scorer: mini_pack/w600k_mini.onnx (iResNet)",
                "cross of character 1: 1.0000",
                "OCCM of the story: 100.0000",
                "not ViStoryBench CIDS",
            ],
        ),
    ],
)
def test_a_protocol_is_scored_beside_and_not_under_its_name(
    client: Client, mode: dict[str, Any], words: list[str]
) -> None:
    graph = Graph()
    photo = {"mode.photo": picture(graph, "hero", 1)} if mode["mode"] == "opens2v" else {}
    node = check(graph, picture(graph, "hero"), cast=(person(graph, 1),), **mode | photo)
    _, _, _, _, report, *_ = values(client, graph, node)
    assert [one for one in words if one not in report] == []


@pytest.mark.parametrize(("file", "found"), [("broken.mkv", "no frame"), ("speech.mkv", "a file without a picture")])
def test_a_film_that_cannot_be_read_is_named_by_its_input(
    client: Client, live_host: HostServer, file: str, found: str
) -> None:
    folder = live_host.base_dir / "input"
    content = (folder / "hero.mkv").read_bytes()
    (folder / "broken.mkv").write_bytes(content[: len(content) // 8])
    (folder / "speech.mkv").write_bytes((folder / "speech.wav").read_bytes())
    graph = Graph()
    shots = picture(graph, "hero"), graph.add("LoadVideo", file=file)[0]
    graph.hash(check(graph, *shots)[0])
    message = client.fails(graph).message
    assert message.startswith(f"WanCastIdentityCheck: clips.clip_2: found {found}"), message
