"""What Stand-In gets of IdentityEncode: the portrait, its background, and an identity without a recogniser."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from devtools.server import HostServer
from tests.host import recipes
from tests.host.live import ROOT, Client, Graph
from wan_core.identity.align import align_face
from wan_core.identity.faces import face_of_points
from wan_core.identity.portrait import cut_portrait
from wan_core.identity.sources import parse_landmarks

NO_ENCODER = "none (for Stand-In)"
STAND_IN = {"ip_layers": "none", "resampler": "none", "stand_in": "mini_stand_in_high.safetensors"}
PERSON = (slice(90, 300), slice(160, 350))  # rows and columns of the portrait that a cut-out of it keeps
BLACK_ON_FACE = "IdentityEncode: foreground: found a mask that is black on the face of image 1, or a picture that is "


def portrait() -> torch.Tensor:
    """The picture of the tests, h w 3 in [0, 1]."""
    picture = np.array(Image.open(ROOT / "tests" / "data" / "portrait.png").convert("RGB"))
    return torch.from_numpy(picture).float() / 255


@pytest.fixture(scope="module", autouse=True)
def cut_out(live_host: HostServer) -> None:
    """The portrait as a PNG that is transparent around the person."""
    picture = Image.open(ROOT / "tests" / "data" / "portrait.png").convert("RGBA")
    alpha = np.zeros((picture.height, picture.width), dtype=np.uint8)
    alpha[PERSON] = 255
    picture.putalpha(Image.fromarray(alpha))
    picture.save(live_host.base_dir / "input" / "cut_out.png")


def encoded(graph: Graph, **changes: Any) -> Any:
    """The node on the portrait with its five points."""
    inputs = {"images": recipes.portrait(graph), "encoder": recipes.ENCODER}
    inputs |= {"face": "landmarks", "face__landmarks": recipes.LANDMARKS}
    return graph.add("IdentityEncode", **inputs | changes)


# The background


def with_mask(graph: Graph) -> dict[str, Any]:
    """Load Image's MASK the right way round."""
    picture = graph.add("LoadImage", image="cut_out.png")
    return {"images": picture[0], "foreground": graph.add("InvertMask", mask=picture[1])[0]}


def with_alpha(graph: Graph) -> dict[str, Any]:
    """One picture with four channels."""
    picture = graph.add("LoadImage", image="cut_out.png")
    return {"images": graph.add("JoinImageWithAlpha", image=picture[0], alpha=picture[1])[0]}


def upside_down(graph: Graph) -> dict[str, Any]:
    """Load Image's MASK as it comes: white where the picture is transparent."""
    picture = graph.add("LoadImage", image="cut_out.png")
    return {"images": picture[0], "foreground": picture[1]}


@pytest.mark.parametrize("cut", [with_mask, with_alpha])
def test_the_background_of_a_cut_out_becomes_white(client: Client, cut: Any) -> None:
    graph = Graph()
    node = encoded(graph, **cut(graph))
    saves = graph.save(node[0]), graph.save(node[2])
    run = client.run(graph)
    picture = torch.ones(512, 512, 3)
    picture[PERSON] = portrait()[PERSON]
    (points,) = parse_landmarks(recipes.LANDMARKS, count=1, width_px=512, height_px=512)
    wanted = cut_portrait(picture, face_of_points(points).box)
    np.testing.assert_allclose(run.saved(saves[0]).arrays["/portrait"], wanted, atol=2e-6)
    assert "its background white" in run.saved(saves[1]).tree[""]


@pytest.mark.parametrize("encoder", [recipes.ENCODER, NO_ENCODER])
def test_a_mask_that_is_black_on_the_face_is_refused(client: Client, encoder: str) -> None:
    graph = Graph()
    graph.hash(encoded(graph, encoder=encoder, **upside_down(graph))[0])
    message = client.fails(graph).message
    assert message.startswith(BLACK_ON_FACE)
    assert "as the MASK of Load Image is, put Invert Mask before it; " in message


# Without a recogniser


def test_stand_in_needs_no_recogniser(client: Client) -> None:
    """The same portrait, and so the same video, as with one."""
    graph = Graph()
    nodes = encoded(graph), encoded(graph, encoder=NO_ENCODER)
    adapter, vae = recipes.adapter(graph, **STAND_IN), recipes.vae21(graph)
    model = recipes.model(graph)
    locked = [recipes.locked(graph, model, identity=node[0], adapter=adapter, vae=vae) for node in nodes]
    latents = [graph.save(recipes.stock_sample(graph, sampled, steps=2)) for sampled in (*locked, model)]
    saves = [graph.save(node[slot]) for node in nodes for slot in range(3)]
    run = client.run(graph)
    one, other, plain = (run.saved(latent) for latent in latents)
    assert one == other != plain
    whole, crops, _, bare, crop, report = (run.saved(save) for save in saves)
    assert (bare.tree["/z"], bare.tree["/space"]) == (None, None)
    np.testing.assert_array_equal(bare.arrays["/portrait"], whole.arrays["/portrait"])
    np.testing.assert_array_equal(crop.array, crops.array)
    (points,) = parse_landmarks(recipes.LANDMARKS, count=1, width_px=512, height_px=512)
    np.testing.assert_allclose(crop.array[0], align_face(portrait(), points).crop, atol=2e-6)
    assert report.tree[""].startswith("no recogniser: this identity has no vectors; Stand-In can use it, and ")


def test_lynx_refuses_an_identity_without_vectors(client: Client) -> None:
    graph = Graph()
    graph.hash(recipes.locked(graph, recipes.model(graph), identity=encoded(graph, encoder=NO_ENCODER)[0]))
    message = client.fails(graph).message
    assert message.startswith("IDLock: identity: found an identity without vectors; wanted one with vectors, for Lynx.")
