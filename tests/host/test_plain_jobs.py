"""The plainest job of every node on the live host, checked by what must hold whatever the random networks say."""

from __future__ import annotations

import hashlib
import re
import wave
from pathlib import Path

import numpy as np
import pytest

from devtools import client as api
from tests.host import recipes
from tests.host.live import ROOT, Client, Graph, Node, Saved

SPEECH = ROOT / "tests" / "data" / "speech.wav"


def is_picture(saved: Saved) -> bool:
    """Whether it is one IMAGE with something on it."""
    array = saved.array
    return array.ndim == 4 and array.shape[::3] == (1, 3) and array.min() >= 0 and array.max() <= 1 and array.std() > 0


def test_identity_encode_makes_a_unit_vector_with_its_space(client: Client, models_dir: Path) -> None:
    graph = Graph()
    node, _ = recipes.identity(graph)
    identity, aligned, report = client.values(graph, [[node, slot] for slot in range(3)])
    assert identity.arrays["/z"].shape == (512,)
    assert np.linalg.norm(identity.arrays["/z"]) == pytest.approx(1, abs=1e-5)
    weights = (models_dir / "face_recognition" / recipes.ENCODER).read_bytes()
    assert identity.tree["/space/name"] == recipes.ENCODER
    assert identity.tree["/space/sha256"] == hashlib.sha256(weights).hexdigest()
    assert aligned.array.shape == (1, 112, 112, 3)
    assert is_picture(aligned)
    assert recipes.ENCODER in report.tree[""]


def test_an_aligned_crop_gives_the_identity_that_it_came_from_and_a_copy_of_it_counts_once(client: Client) -> None:
    graph = Graph()
    first, _ = recipes.identity(graph)
    pair = graph.add("ImageBatch", image1=[first, 1], image2=[first, 1])[0]
    crops = [recipes.identity(graph, images=images, face="aligned crop") for images in ([first, 1], pair)]
    known, of_crop, of_pair = client.values(graph, [[first, 0], *crops])
    for part in ("/z", "/references", "/embeddings", "/crops"):
        np.testing.assert_array_equal(known.arrays[part], of_crop.arrays[part])
    assert known.tree["/space/sha256"] == of_crop.tree["/space/sha256"]
    assert of_pair.arrays["/references"].shape == (1, 512)
    np.testing.assert_allclose(of_pair.arrays["/z"], known.arrays["/z"], atol=1e-6)


def test_adapter_loader_reads_the_sizes_of_its_files(client: Client) -> None:
    graph = Graph()
    node, _ = recipes.adapter(graph)
    adapter, report = client.values(graph, [[node, 0], [node, 1]])
    assert adapter.arrays
    assert "model width 96" in report.tree[""]


def test_id_lock_works_through_the_two_experts_of_a_run(client: Client) -> None:
    graph = Graph()
    parts = {"identity": recipes.identity(graph), "adapter": recipes.adapter(graph)}
    high, low = (recipes.locked(graph, recipes.model(graph, name), **parts) for name in (recipes.HIGH, recipes.LOW))
    latents = recipes.moe_sample(graph), recipes.moe_sample(graph, model_high=high, model_low=low)
    plain, lock = client.values(graph, latents)
    assert lock != plain
    assert np.isfinite(lock.arrays["/samples"]).all()


def test_audio_features_measures_every_frame_of_the_recording(client: Client) -> None:
    graph = Graph()
    tracks, _ = recipes.audio_features(graph)
    outputs = client.values(graph, [[tracks, slot] for slot in range(7)])
    encoded, features, audio, frames, chunks, report, plot = outputs
    with wave.open(str(SPEECH)) as file:
        rate_hz, samples = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
    count = -(-len(samples) * 16 // rate_hz)
    assert (frames.tree[""], chunks.tree[""]) == (count, -(-(count + 3) // 80))
    assert encoded.tree[""] is None
    assert audio.tree["/sample_rate"] == rate_hz
    assert audio.arrays["/waveform"].shape == (1, 1, count * rate_hz // 16)
    frame_of_sample = np.arange(len(samples)) * 16 // rate_hz
    power = [np.mean(samples[frame_of_sample == n] ** 2) for n in range(count)]
    level_db = 10 * np.log10(np.maximum(power, 1e-8))
    inside = slice(0, count - 1)  # the last frame is padded with silence
    np.testing.assert_allclose(features.arrays["/rms_db"][inside], level_db[inside], atol=0.01)
    assert f"{count} frames" in report.tree[""]
    assert is_picture(plot)


def test_moe_sampler_reports_the_split(client: Client) -> None:
    graph = Graph()
    node, _ = recipes.moe_sample(graph, steps=7)
    report, plot = client.values(graph, [[node, 1], [node, 2]])
    high, low = map(int, re.search(r"(\d+) high \+ (\d+) low", report.tree[""]).groups())
    assert high + low == 7
    assert high and low
    assert is_picture(plot)


def test_every_way_to_name_the_boundary_gives_the_latent_of_auto(client: Client) -> None:
    graph = Graph()
    changes: list[dict[str, object]] = [
        {"switch": "sigma", "switch__sigma": 0.875},
        {"switch": "timestep", "switch__timestep": 875.0},
        {"switch": "snr_db", "switch__snr_db": -16.9},
    ]
    auto, *named = client.values(graph, [recipes.moe_sample(graph, **change) for change in ({}, *changes)])
    assert [latent == auto for latent in named] == [True] * 3


def test_lip_sync_check_scores_pictures_and_a_video_alike(client: Client) -> None:
    graph = Graph()
    sound, pictures = recipes.speech(graph), graph.make(tensor=[40, 64, 64, 3], fill="unit")
    video = graph.add("CreateVideo", images=pictures, fps=25.0, audio=sound)[0]
    of_pictures, _ = recipes.lip_sync(graph, frames=pictures, audio=sound)
    of_video = graph.add("LipSyncCheck", frames=video, fps=16.0, weights=recipes.SYNCNET, mode="parity").id
    outputs = client.values(graph, [[node, slot] for node in (of_pictures, of_video) for slot in range(6)])
    first, second = outputs[:6], outputs[6:]
    assert first == second
    passed, offset_ms, confidence, distance, report, plot = first
    assert isinstance(passed.tree[""], bool)
    assert offset_ms.tree[""] % 40 == 0
    assert np.isfinite([confidence.tree[""], distance.tree[""]]).all()
    assert f"{distance.tree['']:.3f}" in report.tree[""]
    assert is_picture(plot)


def test_decoding_to_video_gives_a_video_its_end_and_a_report(client: Client) -> None:
    graph = Graph()
    node, _ = recipes.decoded_to_video(graph, audio=recipes.speech(graph), last_frames=2)
    last, count, report = (graph.save([node, slot]) for slot in (1, 2, 3))
    run = client.run(graph)
    (shown,) = run.output(Node(node))["images"]
    assert api.view(client.url, shown)[4:8] == b"ftyp"
    assert run.saved(last).array.shape == (2, 64, 64, 3)
    assert run.saved(count).tree[""] == 9
    assert shown["filename"] in run.saved(report).tree[""]
