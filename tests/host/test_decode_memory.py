"""What a long video takes: RAM that does not grow with it, and, when the host is killed, a file that still plays."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from devtools import client as api
from devtools.server import HostServer
from tests.host import recipes
from tests.host.live import PROMPT_TIMEOUT_S, ROOT, Client, Graph, Node, Run, prepare_base

WIDTH, HEIGHT, FRAMES = 1280, 720, 241
MOST_MB = 300
SMALL_WIDTH, SMALL_HEIGHT, FEW_FRAMES = 640, 352, 481  # many enough that memory freed before weighs little
FPS, ENCODER_FRAMES = 8, 60  # frames that x264 may hold back, and a second
B_FRAMES = 3  # of x264 in a row
LONG = [1, 16, 400, 8, 8]


def grown_mb(host_dir: Path, models_dir: Path, width: int, height: int, frames: int, *options: str) -> list[float]:
    """By how much the RAM grows while each node decodes so many frames that cost nothing to decode."""
    sizes = ["--width", str(width), "--height", str(height), "--frames", str(frames)]
    command = [sys.executable, str(ROOT / "tests" / "bench" / "decode_memory.py"), *sizes, *options]
    env = {**os.environ, "WANCAST_HOST": str(host_dir), "WANCAST_MODELS": str(models_dir)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    _, *found = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    assert [figures["frames"] for figures in found] == [frames] * len(found)
    return [figures["grown_mb"] for figures in found]


def test_a_video_of_720p_takes_less_than_300_mb_of_ram(host_dir: Path, models_dir: Path) -> None:
    (grown,) = grown_mb(host_dir, models_dir, WIDTH, HEIGHT, FRAMES)
    assert WIDTH * HEIGHT * 3 * FRAMES / 1e6 > 2 * MOST_MB  # all frames at once, even in eight bits
    assert grown < MOST_MB


def test_the_measurement_sees_pictures_that_lie_in_ram(host_dir: Path, models_dir: Path) -> None:
    video, images = grown_mb(host_dir, models_dir, SMALL_WIDTH, SMALL_HEIGHT, FEW_FRAMES, "--images")
    image_mb = 4 * SMALL_WIDTH * SMALL_HEIGHT * 3 * FEW_FRAMES / 1e6
    assert video < image_mb / 2
    assert images > 0.9 * image_mb


@pytest.mark.parametrize("vae", ["2.1", "2.2"])
def test_no_peak_is_under_what_decoders_of_the_real_size_hold_and_all_are_near_it(host_dir: Path, vae: str) -> None:
    """The memory model against the live tensors of the host's own modules, walked without memory."""
    script = str(ROOT / "tests" / "bench" / "vae_memory.py")
    rows = ["host", "one_frame", "cache_in_ram", "2_columns", "2x2"]
    command = [sys.executable, script, "--vae", vae, "--size", "480p", "--frames", "9", "--row", *rows]
    env = {**os.environ, "WANCAST_HOST": str(host_dir)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    shares = [float(share) for share in re.findall(r"estimate .* GiB = (\S+) of it", done.stdout)]
    assert len(shares) == len(rows)
    assert min(shares) >= 1
    assert max(shares[:3]) <= 1.01
    assert max(shares) <= 1.1  # a clip shorter than the tiles' segment leaves room


# Killed


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Path:
    return prepare_base(tmp_path_factory.mktemp("killed"), models_dir)


@pytest.fixture
def mortal(base: Path, host_dir: Path, boots: list[HostServer]) -> Iterator[HostServer]:
    """A host of its own, on the folder of the one before, that writes no metadata."""
    with HostServer(sys.executable, host_dir, base, extra_args=["--disable-metadata"]) as server:
        boots.append(server)
        yield server


def film(client: Client, folder: Path) -> str:
    """The name of the file that a short run writes into the folder, which must hold no metadata but the mark of AI."""
    graph = Graph()
    node = Node(recipes.decoded_to_video(graph, filename_prefix=f"{folder.name}/shot")[0])
    prompt_id = api.submit(client.url, graph.prompt, extra_data={"extra_pnginfo": {"workflow": {"nodes": []}}})
    run = Run(client, api.wait(client.url, prompt_id, PROMPT_TIMEOUT_S))
    (shown,) = run.output(node)["images"]
    with av.open(str(folder / shown["filename"])) as container:
        tags = container.metadata
    assert not {"prompt", "workflow"} & tags.keys()
    assert tags["comment"] == "AI-generated video, made with WanCast"
    return shown["filename"]


@pytest.mark.parametrize("after_frames", [100, 180])
def test_a_killed_host_leaves_a_partial_that_plays(mortal: HostServer, after_frames: int) -> None:
    """The second host works on beside what the first one left; it tells of it in its log, and does not touch it."""
    client, graph, folder = Client(mortal.url), Graph(), mortal.base_dir / "output" / "killed"
    left = {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}
    finished = film(client, folder)
    assert finished == f"shot_{len(left) + 1:05}_.mp4"
    assert ("Unfinished videos of killed runs: 1, " in mortal.log_text()) == bool(left)
    slow = graph.add("WanCastProbeFaultyVae", vae=recipes.vae21(graph), fault="none", from_call=1, pause_s=0.03)[0]
    inputs = {"samples": graph.make(latent=LONG), "vae": slow, "fps": float(FPS), "filename_prefix": "killed/shot"}
    inputs |= {"tiling": "whole frame"}
    node, _ = recipes.decoded_to_video(graph, **inputs)
    kill_after(mortal, client, graph, node, after_frames)
    partial = f".shot_{len(left) + 2:05}_.mp4.partial"
    assert {path.name for path in folder.iterdir()} == {*left, finished, partial}
    assert {name: (folder / name).read_bytes() for name in left} == left
    with av.open(str(folder / partial), format="mp4") as container:
        frames = [frame.pts * frame.time_base * FPS for frame in container.decode(video=0)]
    whole = len(frames) - B_FRAMES  # a picture comes before those that lie between it and the one before
    assert frames[:whole] == list(range(whole))
    assert len(frames) >= after_frames - ENCODER_FRAMES


@pytest.fixture
def agreed(base: Path) -> None:
    """The user's word, in the host's own file, before the next host starts."""
    settings = base / "user" / "default" / "comfy.settings.json"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text('{"WanCast.removeUnfinishedVideos": true}', encoding="ascii")


@pytest.mark.usefixtures("agreed")
def test_left_overs_go_once_the_user_agrees(base: Path, mortal: HostServer) -> None:
    folder = base / "output" / "killed"
    finished = film(Client(mortal.url), folder)
    assert re.search(r"runs: 2, [\d.]+ MiB, in output: 'killed'. They are removed.", mortal.log_text())
    assert [path.name for path in sorted(folder.iterdir())] == ["shot_00001_.mp4", "shot_00003_.mp4", finished]


def kill_after(server: HostServer, client: Client, graph: Graph, node: str, frames: int) -> None:
    """Kills the host some time after the node has counted so many frames."""
    assert server.process is not None
    for event, data in client.events(graph):
        if event == "progress_state" and data["nodes"].get(node, {}).get("value", 0) >= frames:
            time.sleep(random.random() / 4)
            server.process.kill()
            server.process.wait()
            return
