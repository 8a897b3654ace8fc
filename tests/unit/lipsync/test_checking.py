from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.unit.lipsync.samples import request, small_syncnet
from wan_core.errors import InputError
from wan_core.lipsync import SyncNet, check, describe, plot
from wan_core.lipsync.clip import audio_windows, checked_clip, lip_input, tick_sources, window_count
from wan_core.lipsync.mfcc import mfcc, to_int16_scale

RATES = [Fraction(rate) for rate in ("16", "24000/1001", "24", "25", "30000/1001", "30", "50")]
PICTURES = "wanted RGB pictures [frames, height, width, 3], or a VIDEO. Link face crops; remove an alpha channel first."
RANGE = (
    "wanted pixels from 0 to 1. Link an IMAGE as loaders and VAE Decode make it; divide pixels from 0 to 255 by 255."
)
LENGTH = "wanted at least 6 at 25 fps (0.24 s). Use a longer clip; 2 s and more give a sure verdict."
SPEECH = "wanted speech. Lip sync does not apply without sound."


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("frames", [1, 2, 9, 16, 81, 500])
def test_every_tick_shows_the_frame_on_screen_at_its_centre(frames: int, fps: Fraction) -> None:
    wanted = []
    while (source := math.floor(Fraction(2 * len(wanted) + 1, 50) * fps)) < frames:
        wanted.append(source)
    assert tick_sources(frames, fps).tolist() == wanted


def test_lip_input_is_bgr_from_0_to_255_and_full_size_is_not_resampled() -> None:
    frames = torch.rand(5, 224, 224, 3)
    pixels = lip_input(frames)
    assert pixels.shape == (1, 3, 5, 224, 224)
    for channel in range(3):
        assert torch.equal(pixels[0, channel], frames[..., 2 - channel] * 255)


def test_a_ramp_stays_a_ramp_when_resized() -> None:
    ramp = ((torch.arange(448) + 0.5) / 448).expand(1, 448, 448)[..., None].repeat(1, 1, 1, 3)
    wanted = (torch.arange(224) + 0.5) / 224 * 255
    assert torch.allclose(lip_input(ramp)[0, 0, 0, 100], wanted, atol=1e-3)


@pytest.mark.parametrize(
    ("ticks", "samples", "count"), [(25, 16000, 20), (25, 6400, 5), (6, 99999, 1), (40, 16639, 20)]
)
def test_windows_are_20_cepstra_at_4_a_tick_and_five_fewer_than_the_shorter_stream(
    ticks: int, samples: int, count: int
) -> None:
    sound = torch.rand(samples) - 0.5
    cepstra = mfcc(to_int16_scale(sound)).float()
    assert window_count(ticks, samples) == count
    windows = audio_windows(sound, count)
    assert windows.shape == (count, 1, 13, 20)
    assert all(torch.equal(windows[index, 0], cepstra[4 * index : 4 * index + 20].T) for index in range(count))


@torch.no_grad()
def test_the_whole_clip_goes_through_the_network_a_bounded_number_of_windows_at_a_time() -> None:
    network, given = small_syncnet(), request()  # 35 windows: two turns for the lips
    seen: list[tuple[str, int]] = []

    class Watched(torch.nn.Module):
        def watch(self, frames: Tensor) -> Tensor:
            seen.append(("lips", frames.shape[2] - 4))
            return network.watch(frames)

        def hear(self, cepstra: Tensor) -> Tensor:
            seen.append(("sound", len(cepstra)))
            return network.hear(cepstra)

    @contextmanager
    def on_device(of: SyncNet) -> Iterator[torch.device]:
        seen.append(("loaded", 0))
        yield torch.device("cpu")
        seen.append(("left", 0))

    done: list[int] = []
    result = check(given, Watched(), on_device=on_device, progress=lambda total: lambda n: done.append(total - n))
    assert seen == [("loaded", 0), ("lips", 32), ("lips", 3), ("sound", 35), ("left", 0)]
    assert done == [38, 35, 0]
    lips = network.watch(lip_input(given.frames))[:35]
    sounds = network.hear(audio_windows(result.clip.samples, 35))
    middle = torch.linalg.vector_norm(lips - sounds + 1e-6, dim=1).mean()
    assert float(result.score.curve[15]) == pytest.approx(float(middle), rel=1e-4)
    assert torch.equal(check(given, network).score.curve, result.score.curve)


@torch.no_grad()
def test_repeating_every_frame_at_twice_the_rate_changes_nothing_but_a_note() -> None:
    network, once = small_syncnet(), request(12)
    twice = replace(once, frames=once.frames.repeat_interleave(2, dim=0), fps=50.0)
    results = [check(given, network) for given in (once, twice)]
    assert torch.allclose(results[0].score.curve, results[1].score.curve, rtol=1e-5)
    assert [[note.code for note in result.notes] for result in results] == [
        ["too_short"],
        ["resampled_frames", "too_short"],
    ]


@torch.no_grad()
def test_report_names_what_was_measured_and_warns_of_other_frame_rates_and_short_clips() -> None:
    network = small_syncnet()
    long = check(request(60, samples=60 * 640, mode="robust"), network)
    assert "\npicture: 60 frames at 25 fps = 2.400 s, 24x32 px resized to 224x224; sound: 2.400 s" in describe(long)
    assert f"\ndistance {long.score.distance:.3f}; mode robust; 55 windows of 0.2 s\n" in describe(long)
    assert "note" not in describe(long)
    assert describe(check(request(20, fps=16.0), network)).endswith(
        "\nnote: frames were repeated or left out to make 25 fps, that of published scores"
        "\nnote: under 2 s offset and confidence are unsure, so the clip does not pass"
    )
    pictures = [plot(result) for result in (long, check(request(60, samples=60 * 640), network))]
    assert pictures[0].shape == (1, 360, 960, 3)
    assert not torch.equal(*pictures)


def with_nan(frames: Tensor) -> Tensor:
    frames[4, 2, 2, 1] = torch.nan
    return frames


BYTES = torch.arange(256).expand(9, 8, 256)[..., None].repeat(1, 1, 1, 3)
SILENCE = {"waveform": torch.zeros(1, 1, 16000), "sample_rate": 16000}


@pytest.mark.parametrize(
    ("good", "changes", "message"),
    [
        (request(), {"mode": "exact"}, "mode: found 'exact'; wanted one of parity, robust. Pick one in the node."),
        (request(), {"frames": None}, f"frames: found NoneType; {PICTURES}"),
        (request(), {"frames": torch.rand(8, 8, 3)}, f"frames: found shape [8, 8, 3]; {PICTURES}"),
        (request(), {"frames": torch.rand(9, 8, 8, 4)}, f"frames: found shape [9, 8, 8, 4]; {PICTURES}"),
        (request(), {"frames": torch.rand(0, 8, 8, 3)}, f"frames: found shape [0, 8, 8, 3]; {PICTURES}"),
        (
            request(),
            {"frames": with_nan(torch.rand(9, 8, 8, 3))},
            "frames: found NaN or infinity in frame 4; wanted finite pixels. Decode the video again; a NaN often comes "
            "from a VAE in half precision.",
        ),
        (request(), {"frames": BYTES.float()}, f"frames: found pixels from 0 to 255; {RANGE}"),
        (request(), {"frames": BYTES.to(torch.uint8)}, f"frames: found pixels from 0 to 255; {RANGE}"),
        (request(), {"frames": torch.full((9, 8, 8, 3), -0.06)}, f"frames: found pixels from -0.06 to -0.06; {RANGE}"),
        (request(), {"frames": torch.full((9, 8, 8, 3), 1.06)}, f"frames: found pixels from 1.06 to 1.06; {RANGE}"),
        (request(), {"fps": 0}, "fps: found 0; wanted a frame rate above 0. Set the frame rate of the video."),
        (request(5), {}, f"frames: found 5 at 25 fps (5 at 25 fps); {LENGTH}"),
        (request(3, fps=16.0), {}, f"frames: found 3 at 16 fps (5 at 25 fps); {LENGTH}"),
        (request(9, fps=50.0), {}, f"frames: found 9 at 50 fps (4 at 25 fps); {LENGTH}"),
        (
            request(),
            {"audio": None},
            "audio: found no sound; wanted AUDIO. Load audio, or a video that has a sound track.",
        ),
        (
            request(samples=3839),
            {},
            "audio: found 0.240 s; wanted at least 0.24 s. Use the sound of the whole clip; 2 s and more give a sure "
            "verdict.",
        ),
        (request(), {"audio": SILENCE}, f"audio: found silence (-inf dB); {SPEECH}"),
        (
            request(),
            {"audio": SILENCE | {"waveform": torch.full((1, 1, 16000), 0.5)}},
            f"audio: found silence (-inf dB); {SPEECH}",
        ),
        (
            request(),
            {"audio": SILENCE | {"waveform": torch.tensor([1e-5, -1e-5]).repeat(8000)[None, None]}},
            f"audio: found silence (-100 dB); {SPEECH}",
        ),
    ],
)
def test_a_clip_that_cannot_be_scored_is_refused(good: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        check(replace(good, **changes), small_syncnet())
    assert str(error.value) == message


def test_the_overshoot_of_a_filter_and_quiet_speech_are_let_through() -> None:
    frames, quiet = torch.rand(9, 8, 8, 3) * 1.08 - 0.04, {"waveform": torch.randn(1, 1, 16000) * 2e-3}
    clip = checked_clip(frames, 25.0, quiet | {"sample_rate": 16000})
    assert clip.frames is frames and clip.windows == 4
