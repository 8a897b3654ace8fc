"""WanCastDecodeToVideo writes the frames of the stock decoder, with sound and tags, into a file that others take."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import uuid4

import av
import numpy as np
import pytest

from devtools import client as api
from devtools.server import HostServer
from tests.host import recipes
from tests.host.live import PROMPT_TIMEOUT_S, Client, Graph, Node, Run, Saved

CONTAINERS = {"h264": "mp4", "hevc": "mp4", "av1": "mp4", "prores": "mov", "ffv1": "mkv"}
LATENT = [1, 16, 6, 8, 12]
FRAMES, HEIGHT, WIDTH = 21, 64, 96
SECONDS = Fraction(FRAMES, 16)
RATE_HZ, AAC_FRAME = 48000, 1024  # samples
LEVEL = 1 / 255
ROUNDING_LEVELS = 1e-5 * 255  # between one frame at a time, which a CPU takes, and the stock decoder
RED, GREEN, BLUE = 0.2126, 0.7152, 0.0722  # BT.709's luma
WORKFLOW = {"nodes": [], "name": "of the artist"}
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"

Link = recipes.Link


def film(graph: Graph, **changes: Any) -> Node:
    """The node, with a file name that no other run has."""
    inputs = {"samples": graph.make(latent=LATENT), "filename_prefix": f"video/{uuid4().hex}"}
    return Node(recipes.decoded_to_video(graph, **inputs | changes)[0])


def record(run: Run, node: Node) -> dict[str, str]:
    """What the node tells the page about its file."""
    (shown,) = run.output(node)["images"]
    return shown


def content(run: Run, node: Node) -> io.BytesIO:
    return io.BytesIO(api.view(run.client.url, record(run, node)))


@dataclass(frozen=True, slots=True)
class Streams:
    """What a player finds in a file."""

    codec: str
    frames: list[np.ndarray]  # h w 3, by FFmpeg's own conversion
    fps: Fraction
    video_s: Fraction
    audio_s: Fraction | None
    tags: dict[str, str]  # by their names in capitals
    packets: list[str]  # hashes of the picture's and the sound's, in the file's order


def streams(file: io.BytesIO) -> Streams:
    with av.open(file) as container:
        video, sound = container.streams.video[0], next(iter(container.streams.audio), None)
        hashes = [hashlib.sha256(bytes(packet)).hexdigest() for packet in container.demux() if packet.size]
        container.seek(0)
        return Streams(
            video.codec_context.codec.canonical_name,
            [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)],
            Fraction(video.average_rate),
            length_s(container, video),
            None if sound is None else length_s(container, sound),
            {name.upper(): text for name, text in container.metadata.items()},
            hashes,
        )


def length_s(container: Any, stream: Any) -> Fraction:
    """How long a stream lasts; Matroska writes it down as a tag."""
    if stream.duration is not None:
        return stream.duration * stream.time_base
    hours, minutes, seconds = stream.metadata["DURATION"].split(":")
    return 3600 * int(hours) + 60 * int(minutes) + Fraction(seconds)


@dataclass(frozen=True, slots=True)
class Shots:
    """One latent as a file of every codec, and its pictures by the stock decoder."""

    streams: dict[str, Streams]
    records: dict[str, dict[str, str]]
    last: dict[str, Saved]
    counts: dict[str, Saved]
    reports: dict[str, str]
    images: np.ndarray  # f h w 3, 0 to 1
    prompt: dict[str, Any]


@pytest.fixture(scope="module")
def shots(live_host: HostServer) -> Shots:
    client, graph = Client(live_host.url), Graph()
    inputs = {"samples": graph.make(latent=LATENT), "vae": recipes.vae21(graph)}
    stock = graph.save(graph.add("VAEDecode", **inputs)[0])
    sound = graph.make(audio=[1, 2, 2 * RATE_HZ], rate=RATE_HZ, fill="unit")
    nodes = {codec: film(graph, codec=codec, last_frames=3, audio=sound, **inputs) for codec in CONTAINERS}
    saves = {name: [graph.save(node[slot]) for slot in (1, 2, 3)] for name, node in nodes.items()}
    extra = {"extra_pnginfo": {"workflow": WORKFLOW}}
    looped = {id: {**node, "_loop_body": ["1"], "_loop_end": "2"} for id, node in graph.prompt.items()}
    entry = api.wait(client.url, api.submit(client.url, looped, extra_data=extra), PROMPT_TIMEOUT_S)
    run = Run(client, entry)
    values = {name: [run.saved(save) for save in group] for name, group in saves.items()}
    return Shots(
        {name: streams(content(run, node)) for name, node in nodes.items()},
        {name: record(run, node) for name, node in nodes.items()},
        {name: last for name, (last, _, _) in values.items()},
        {name: count for name, (_, count, _) in values.items()},
        {name: report.tree[""] for name, (_, _, report) in values.items()},
        run.saved(stock).array,
        graph.prompt,
    )


# The file


@pytest.mark.parametrize("extra", [[1], "text", {"\ud800\0": "x"}])
def test_a_prompt_may_bring_any_metadata(client: Client, extra: object) -> None:
    graph = Graph()
    node = film(graph)
    entry = api.wait(
        client.url, api.submit(client.url, graph.prompt, extra_data={"extra_pnginfo": extra}), PROMPT_TIMEOUT_S
    )
    assert record(Run(client, entry), node)


@pytest.mark.parametrize("codec", CONTAINERS)
def test_every_codec_holds_every_frame(shots: Shots, codec: str) -> None:
    found, shown = shots.streams[codec], shots.records[codec]
    assert found.codec == codec
    assert [frame.shape for frame in found.frames] == FRAMES * [(HEIGHT, WIDTH, 3)]
    assert (found.fps, shots.counts[codec].tree[""]) == (16, FRAMES)
    assert abs(found.video_s - SECONDS) < Fraction(1, 500)  # Matroska counts in milliseconds
    assert shown["filename"].endswith(f"_00001_.{CONTAINERS[codec]}")
    assert (shown["subfolder"], shown["type"]) == ("video", "output")
    assert shots.reports[codec].startswith(f"file: output/video/{shown['filename']}\n")
    assert f"{codec} in {CONTAINERS[codec]}, {WIDTH} x {HEIGHT}" in shots.reports[codec]
    assert shots.reports[codec].splitlines()[-1].startswith("Whole frame, one frame at a time")


def test_a_lossless_file_holds_the_pictures_of_stock_decoding_to_the_nearest_level(shots: Shots) -> None:
    frames = np.stack(shots.streams["ffv1"].frames).astype(np.float64)
    assert np.abs(frames - shots.images.astype(np.float64) * 255).max() <= 0.5 + ROUNDING_LEVELS
    assert frames.std() > 5


def test_the_last_frames_are_those_of_stock_decoding(shots: Shots) -> None:
    for last in shots.last.values():
        assert last.array.shape == (3, HEIGHT, WIDTH, 3)
        assert last.array.dtype == np.float32
        assert np.abs(last.array - shots.images[-3:]).max() <= (0.5 + ROUNDING_LEVELS) * LEVEL


def test_more_last_frames_than_there_are_give_all_of_them(client: Client) -> None:
    graph = Graph()
    node = film(graph, samples=graph.make(latent=[1, 16, 2, 8, 8]), last_frames=1024)
    assert client.value(graph, node[1]).array.shape == (5, 64, 64, 3)


def test_the_wan22_vae_an_exact_rate_and_a_prefix_with_the_size(client: Client) -> None:
    graph = Graph()
    inputs = {"samples": graph.make(latent=[1, 48, 2, 4, 6]), "vae": recipes.vae22(graph)}
    node = film(graph, codec="ffv1", fps=23.976, filename_prefix=f"%width%x%height%/{uuid4().hex}", **inputs)
    stock = graph.save(graph.add("VAEDecode", **inputs)[0])
    run = client.run(graph)
    found = streams(content(run, node))
    frames = np.stack(found.frames)
    assert (found.fps, record(run, node)["subfolder"]) == (Fraction(24000, 1001), "96x64")
    assert np.abs(frames - run.saved(stock).array.astype(np.float64) * 255).max() <= 0.5 + ROUNDING_LEVELS


# Tags and sound


@pytest.mark.parametrize("codec", CONTAINERS)
def test_the_file_says_how_it_was_made(shots: Shots, codec: str) -> None:
    tags = shots.streams[codec].tags
    nodes = json.loads(tags["PROMPT"])
    assert {id: {name: node[name] for name in shots.prompt[id]} for id, node in nodes.items()} == shots.prompt
    assert "_loop_" not in tags["PROMPT"]  # what newer hosts write into the nodes that begin a loop
    assert json.loads(tags["WORKFLOW"]) == WORKFLOW
    assert tags["COMMENT"] == "AI-generated video, made with WanCast"
    assert tags["DIGITAL_SOURCE_TYPE"] == SOURCE_TYPE


@pytest.mark.parametrize("codec", CONTAINERS)
def test_sound_and_picture_end_together(shots: Shots, codec: str) -> None:
    """The recording is longer than the video and is cut."""
    found = shots.streams[codec]
    assert found.audio_s is not None
    assert abs(found.audio_s - found.video_s) <= Fraction(AAC_FRAME, RATE_HZ)
    assert "sound: 0.69 s cut off its end, to end with the picture" in shots.reports[codec]


# What others do with it


def test_save_video_copies_the_packets(client: Client) -> None:
    graph = Graph()
    node = film(graph, audio=graph.make(audio=[1, 1, RATE_HZ], rate=RATE_HZ, fill="unit"))
    saved = graph.add("SaveVideo", video=node[0], filename_prefix="video/copy", format="auto", codec="auto")
    run = client.run(graph)
    ours, copied = streams(content(run, node)), streams(content(run, saved))
    assert sorted(copied.packets) == sorted(ours.packets)
    assert len(ours.packets) > FRAMES


def test_the_video_comes_apart_into_its_frames_and_its_sound(client: Client, shots: Shots) -> None:
    graph = Graph()
    given = graph.make(audio=[1, 2, RATE_HZ], rate=RATE_HZ, fill="unit")
    node = film(graph, codec="ffv1", audio=given)
    parts = graph.add("GetVideoComponents", video=node[0])
    images, sound, fps, recorded, report = (
        graph.save(link) for link in (*(parts[slot] for slot in range(3)), given, node[3])
    )
    run = client.run(graph)
    assert np.abs(run.saved(images).array - shots.images).max() <= 2 * LEVEL
    assert run.saved(sound).tree["/sample_rate"] == RATE_HZ
    heard = run.saved(sound).arrays["/waveform"]
    assert heard.shape == (1, 2, int(SECONDS * RATE_HZ))
    np.testing.assert_allclose(heard[..., :RATE_HZ], run.saved(recorded).arrays["/waveform"], atol=2**-22)
    assert not heard[..., RATE_HZ:].any()
    assert "sound: 0.31 s of silence added, to end with the picture" in run.saved(report).tree[""]
    assert run.saved(fps).tree[""] == 16.0


def test_lip_sync_check_scores_the_file_as_it_does_its_parts(client: Client) -> None:
    graph = Graph()
    node = film(graph, codec="ffv1", audio=recipes.speech(graph))
    parts = graph.add("GetVideoComponents", video=node[0])
    of_parts, _ = recipes.lip_sync(graph, frames=parts[0], fps=16.0, audio=parts[1])
    of_file = graph.add("LipSyncCheck", frames=node[0], fps=25.0, weights=recipes.SYNCNET, mode="parity").id
    numbers = client.values(graph, [[check, slot] for check in (of_parts, of_file) for slot in (2, 3)])
    found = np.array([number.tree[""] for number in numbers])
    np.testing.assert_allclose(found[2:], found[:2], rtol=1e-2, atol=1e-3)
    schema = client.get("/object_info/LipSyncCheck")["LipSyncCheck"]["input"]["required"]
    assert schema["mode"][1]["default"] == "robust"  # what new nodes on the page begin with


# Its name, and when it is made again


def test_the_numbers_go_on_and_temporary_files_lie_elsewhere(client: Client, live_host: HostServer) -> None:
    prefix, found = f"video/{uuid4().hex}", []
    for quality, keep in ((30, True), (31, True), (32, False), (33, False)):
        graph = Graph()
        node = film(graph, filename_prefix=prefix, quality=quality, save_output=keep)
        shown = record(client.run(graph), node)
        assert (live_host.base_dir / shown["type"] / shown["subfolder"] / shown["filename"]).is_file()
        found.append((shown["type"], f"{shown['subfolder']}/{shown['filename']}"))
    names = [("output", 1), ("output", 2), ("temp", 1), ("temp", 2)]
    assert found == [(kind, f"{prefix}_{number:05}_.mp4") for kind, number in names]


def test_a_file_that_is_there_is_taken_from_the_cache_and_a_lost_one_is_made_again(
    client: Client, live_host: HostServer
) -> None:
    graph = Graph()
    node = film(graph)
    copied = graph.add("SaveVideo", video=node[0], filename_prefix="video/copy", format="auto", codec="auto")
    first = client.run(graph)
    path = live_host.base_dir / "output" / "video" / record(first, node)["filename"]
    made = path.stat().st_mtime_ns
    again = client.run(graph)
    assert {node.id, copied.id} <= again.cached_nodes()
    assert path.stat().st_mtime_ns == made
    path.unlink()
    third = client.run(graph)
    assert not {node.id, copied.id} & third.cached_nodes()
    assert path.is_file()
    assert node.id in client.run(graph).cached_nodes()


# Failures


def files_below(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*")) if folder.exists() else []


def faulty(fault: str) -> Callable[[Graph], dict[str, Any]]:
    """A VAE that has the fault from the third of its four calls on."""
    return lambda graph: {
        "vae": graph.add("WanCastProbeFaultyVae", vae=recipes.vae21(graph), fault=fault, from_call=3, pause_s=0.05)[0],
        "tiling": "whole frame",
    }


FAILURES: dict[str, tuple[Callable[[Graph], dict[str, Any]], str]] = {
    "NaN in the latent": (
        lambda graph: {"samples": graph.make(latent=LATENT, fill="nan")},
        "NaN or Inf in latent frame ",
    ),
    "NaN from the VAE": (faulty("nan"), "vae: found NaN or infinite pixels in frame 9 (counted from 0)"),
    "broken encoder": (faulty("encoder"), "the encoder broke"),
    "frames of another size": (faulty("size"), "a frame is torch.uint8 (64, 94, 3); wanted uint8 (64, 96, 3)"),
    "bad sound": (lambda graph: {"audio": graph.make(audio=[1, 1, 9000], rate=9000, fill="nan")}, "finite samples"),
}


def test_a_file_and_a_link_to_a_place_outside_are_no_folders(
    client: Client, live_host: HostServer, tmp_path: Path
) -> None:
    output, name = live_host.base_dir / "output", uuid4().hex
    (output / name).write_bytes(b"a file")
    (output / f"{name}-link").symlink_to(tmp_path)
    for folder, found in ((name, "a folder that nothing can be written to ('Not a directory')"), (f"{name}-link", "")):
        graph = Graph()
        film(graph, filename_prefix=f"{folder}/shot")
        message = client.fails(graph).message
        assert f"filename_prefix: found {found or repr(folder + '/shot') + ', which leads elsewhere'}; " in message
        assert str(live_host.base_dir) not in message
    assert files_below(tmp_path) == []


def no_thread_is_left(client: Client) -> bool:
    graph = Graph()
    threads = graph.add("WanCastProbeThreads", after=graph.make(value=uuid4().hex))
    names = json.loads(client.run(graph).output(threads)["threads"][0])
    return not any(name.startswith("video-sink") for name in names)


@pytest.mark.parametrize("codec", ["h264", "ffv1"])
@pytest.mark.parametrize("case", FAILURES)
def test_a_run_that_fails_leaves_no_file(client: Client, live_host: HostServer, case: str, codec: str) -> None:
    spoil, message = FAILURES[case]
    graph, folder = Graph(), uuid4().hex
    film(graph, codec=codec, filename_prefix=f"{folder}/shot", **spoil(graph))
    failure = client.fails(graph)
    assert failure.node_type == "WanCastDecodeToVideo"
    assert message in failure.message
    assert files_below(live_host.base_dir / "output" / folder) == []
    assert no_thread_is_left(client)


def test_an_interrupted_run_leaves_no_file(client: Client, live_host: HostServer) -> None:
    graph, name = Graph(), uuid4().hex
    folder = live_host.base_dir / "output" / name
    slow = graph.add("WanCastProbeFaultyVae", vae=recipes.vae21(graph), fault="none", from_call=1, pause_s=0.1)[0]
    inputs = {"samples": graph.make(latent=[1, 16, 200, 8, 8]), "vae": slow, "tiling": "whole frame"}
    node = film(graph, filename_prefix=f"{name}/shot", **inputs)
    during: list[str] = []
    steps: list[float] = []
    event, data = "", {}
    for event, data in client.events(graph):  # noqa: B007
        value = data["nodes"].get(node.id, {}).get("value", 0) if event == "progress_state" else 0
        if value < 9:
            continue
        if not steps:
            during = files_below(folder)
            client.post("/interrupt", {"prompt_id": data["prompt_id"]})
        steps.append(value)
    assert (event, data.get("node_id")) == ("execution_interrupted", node.id)
    assert steps[-1] <= steps[0] + 16  # two calls of the decoder
    assert during == [".shot_00001_.mp4.partial"]
    assert files_below(folder) == []
    assert no_thread_is_left(client)
