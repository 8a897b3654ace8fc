"""The two pieces of Python in README run as they stand, on a recogniser and a decoder that are small."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path
from typing import Any

import av
import numpy
import pytest
import torch

from tests.unit.identity.some_inputs import ir_params
from tests.unit.vae.tiny_wan import WAN21, TinyWan, latent_of
from wan_core.identity.align import align_face
from wan_core.identity.ir_network import IrBackbone
from wan_core.identity.record import Space

ROOT = Path(__file__).parents[2]
SECTION = re.search(r"^## From Python$(.*?)^## ", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
IDENTITY, FILM = re.findall(r"```python\n(.*?)```", SECTION[1] if SECTION else "", re.S)


def run(code: str, names: dict[str, Any]) -> dict[str, Any]:
    """The names that a piece of the page leaves."""
    exec(code, names)  # noqa: S102 - our own page
    return names


def test_a_portrait_becomes_an_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "tests" / "data" / "portrait.png", "portrait.png")
    torch.manual_seed(0)
    network = IrBackbone(ir_params((4, 8), (1, 1), squeezed_by=2, stem=4), operations=torch.nn).eval()
    file = Path("recognition_arcface_ir_se50.pth")
    torch.save(network.state_dict(), file)
    names = run(IDENTITY, {})
    crop = align_face(names["picture"], (221 + 165j, 292 + 162j, 255 + 204j, 225 + 225j, 286 + 224j)).crop
    z = torch.nn.functional.normalize(network(crop.flip(-1).movedim(-1, 0)[None] * 2 - 1)[0], dim=0)
    torch.testing.assert_close(names["z_id"], z.detach())
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert names["result"].identity.space == Space(file.name, sha256, "IR-SE")


def test_a_latent_becomes_a_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    vae, latent = TinyWan(WAN21), latent_of(WAN21, 3)
    film = run(FILM, {"vae": vae, "latent": latent[None]})["film"]
    with av.open(film) as container:
        frames = numpy.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    exact = (vae.whole(latent).clamp(-1, 1) + 1) * 127.5  # f h w 3
    assert Path(film).name == "shot_00001_.mkv"
    assert numpy.abs(frames - exact.detach().numpy()).max() <= 0.5 + 1e-6
    assert frames.std() > 5
