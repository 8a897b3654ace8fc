from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.unit.lipsync.samples import request, small_syncnet, talking
from wan_core.errors import InputError
from wan_core.lipsync import LipSyncRequest, SyncNet, check, describe, plot
from wan_core.lipsync.clip import audio_windows, checked_clip, lip_picture, tick_sources
from wan_core.lipsync.embed import embed
from wan_core.lipsync.mfcc import mfcc, to_int16_scale

RATES = [Fraction(rate) for rate in ("16", "24000/1001", "24", "25", "30000/1001", "30", "50")]
PICTURES = "wanted RGB pictures [frames, height, width, 3], or a VIDEO. Link face crops; remove an alpha channel first."
RANGE = (
    "wanted pixels from 0 to 1. Link an IMAGE as loaders and VAE Decode make it; divide pixels from 0 to 255 by 255."
)
NAN = "wanted finite pixels. Decode the video again; a NaN often comes from a VAE in half precision."
SOUND = "wanted at least 0.24 s. Use the sound of the whole clip; 2 s and more give a sure verdict."
NO_SOUND = "no sound; wanted AUDIO. Load audio, or a video that has a sound track."
LENGTH = "wanted at least 6 at 25 fps (0.24 s). Use a longer clip; 2 s and more give a sure verdict."
SLOW = "wanted at least 5: a picture in each of the windows of 0.2 s that are scored. Set the frame rate of the video."
SPEECH = "wanted speech. Lip sync does not apply without sound."


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("frames", [1, 2, 9, 16, 81, 500])
def test_every_tick_shows_the_frame_on_screen_at_its_centre(frames: int, fps: Fraction) -> None:
    wanted = []
    while (source := math.floor(Fraction(2 * len(wanted) + 1, 50) * fps)) < frames:
        wanted.append(source)
    assert tick_sources(frames, fps).tolist() == wanted


def test_lip_input_is_bgr_from_0_to_255_and_full_size_is_not_resampled() -> None:
    frame = torch.rand(224, 224, 3)
    pixels = lip_picture(frame)
    assert pixels.shape == (3, 224, 224)
    for channel in range(3):
        assert torch.equal(pixels[channel], frame[..., 2 - channel] * 255)


def test_a_ramp_stays_a_ramp_when_resized() -> None:
    ramp = ((torch.arange(448) + 0.5) / 448).expand(448, 448)[..., None].repeat(1, 1, 3)
    wanted = (torch.arange(224) + 0.5) / 224 * 255
    assert torch.allclose(lip_picture(ramp)[0, 100], wanted, atol=1e-3)


def test_audio_windows_are_20_cepstra_at_4_a_tick() -> None:
    samples = torch.rand(16000) - 0.5
    cepstra = mfcc(to_int16_scale(samples)).float()
    windows = audio_windows(samples, 20)
    assert windows.shape == (20, 1, 13, 20)
    assert all(torch.equal(windows[index, 0], cepstra[4 * index : 4 * index + 20].T) for index in range(20))


@pytest.mark.parametrize(
    ("ticks", "samples", "count"), [(25, 16000, 20), (25, 3840, 1), (6, 99999, 1), (40, 16639, 20)]
)
def test_windows_are_five_fewer_than_the_shorter_stream(ticks: int, samples: int, count: int) -> None:
    clip = request(ticks, samples=samples).clip
    assert clip.windows == len(audio_windows(clip.samples, count)) == count


@torch.no_grad()
def test_the_network_is_loaded_for_as_long_as_the_clip_goes_through_it_in_chunks() -> None:
    network, seen = small_syncnet(), list[str]()

    @contextmanager
    def on_device(network: SyncNet) -> Iterator[torch.device]:
        seen.append("loaded")
        yield torch.device("cpu")
        seen.append("left")

    clip = check(
        request(), network, on_device=on_device, progress=lambda total: lambda n: seen.append(f"{n}/{total}")
    ).clip
    assert seen == ["loaded", "32/70", "35/70", "70/70", "left"]
    lips, sounds = embed(network, clip, torch.device("cpu"), lambda done: None)
    shown = torch.stack([lip_picture(frame) for frame in clip.pictures], dim=1)  # 3 f 224 224
    assert torch.allclose(lips, network.watch(shown[None])[:35], rtol=1e-4, atol=1e-4)
    assert torch.allclose(sounds, network.hear(audio_windows(clip.samples, 35)), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_repeating_every_frame_at_twice_the_rate_changes_nothing_but_a_note() -> None:
    network, once = small_syncnet(), talking(12)
    twice = once | {"frames": once["frames"].repeat_interleave(2, dim=0), "fps": 50.0}
    results = [check(LipSyncRequest.of(**given), network) for given in (once, twice)]
    assert torch.allclose(results[0].score.curve, results[1].score.curve, rtol=1e-5)
    codes = [[note.code for note in result.notes] for result in results]
    assert codes == [["too_short"], ["resampled_frames", "too_short"]]


@torch.no_grad()
def test_report_names_what_was_measured_and_warns_of_other_frame_rates_and_short_clips() -> None:
    network = small_syncnet()
    long = check(request(60, samples=60 * 640, mode="robust"), network)
    text = describe(long)
    assert "\npicture: 60 frames at 25 fps = 2.400 s, 24x32 px resized to 224x224; sound beside it: 2.400 s" in text
    assert f"\ndistance {long.score.distance:.3f}; mode robust; 55 windows of 0.2 s\n" in text and "note" not in text
    assert "tensor" not in repr(long) + repr(request())
    assert "; allowed: audio up to 45 ms early or 125 ms late (ITU-R BT.1359)\nconfidence " in text
    assert f"{long.score.confidence:.3f}; wanted: 3 or more (LatentSync's cut-off)\n" in text
    assert describe(check(request(20, fps=16.0), network)).endswith(
        "\nnote: frames were repeated or left out to make 25 fps, that of published scores"
        "\nnote: under 2 s offset and confidence are unsure, so the clip does not pass"
    )
    pictures = [plot(result) for result in (long, check(request(60, samples=60 * 640), network))]
    assert pictures[0].shape == (1, 360, 960, 3)
    assert not torch.equal(*pictures)


def sound_of(samples: Tensor) -> dict[str, Any]:
    return {"waveform": samples[None, None], "sample_rate": 16000}


BYTES = torch.arange(256).expand(9, 8, 256)[..., None].repeat(1, 1, 1, 3)
WITH_NAN = torch.rand(9, 8, 8, 3)
WITH_NAN[4, 2, 2, 1] = torch.nan
LONG = {"frames": torch.rand(1, 1, 1, 3).expand(18001, 1, 1, 3), "fps": 5.0, "audio": talking()["audio"]}
HUM = torch.tensor([5e-5, -5e-5]).repeat(8000)


@pytest.mark.parametrize(
    ("good", "changes", "message"),
    [
        (talking(), {"mode": "exact"}, "mode: found 'exact'; wanted one of parity, robust. Pick one in the node."),
        (talking(), {"frames": None}, f"frames: found NoneType; {PICTURES}"),
        (talking(), {"frames": torch.rand(8, 8, 3)}, f"frames: found shape [8, 8, 3]; {PICTURES}"),
        (talking(), {"frames": torch.rand(9, 8, 8, 4)}, f"frames: found shape [9, 8, 8, 4]; {PICTURES}"),
        (talking(), {"frames": torch.rand(0, 8, 8, 3)}, f"frames: found shape [0, 8, 8, 3]; {PICTURES}"),
        (talking(), {"frames": WITH_NAN}, f"frames: found NaN or infinity in frame 4; {NAN}"),
        (talking(), {"frames": BYTES.float()}, f"frames: found pixels from 0 to 255; {RANGE}"),
        (talking(), {"frames": BYTES.to(torch.uint8)}, f"frames: found pixels from 0 to 255; {RANGE}"),
        (talking(), {"frames": torch.full((9, 8, 8, 3), -0.06)}, f"frames: found pixels from -0.06 to -0.06; {RANGE}"),
        (talking(), {"frames": torch.full((9, 8, 8, 3), 1.06)}, f"frames: found pixels from 1.06 to 1.06; {RANGE}"),
        (talking(), {"fps": 0}, "fps: found 0; wanted a frame rate above 0. Set the frame rate of the video."),
        (talking(fps=4.9), {}, f"fps: found 4.9; {SLOW}"),
        (talking(samples=5), {"fps": 0.001}, f"fps: found 0.001; {SLOW}"),
        (LONG, {}, "frames: found more than 18000 at 5 fps; wanted at most 3600 s. Check a part of it."),
        (talking(5), {}, f"frames: found 5 at 25 fps (5 at 25 fps); {LENGTH}"),
        (talking(3, fps=16.0), {}, f"frames: found 3 at 16 fps (5 at 25 fps); {LENGTH}"),
        (talking(9, fps=50.0), {}, f"frames: found 9 at 50 fps (4 at 25 fps); {LENGTH}"),
        (talking(), {"audio": None}, f"audio: found {NO_SOUND}"),
        (talking(samples=3839), {}, f"audio: found 0.240 s; {SOUND}"),
        (talking(), {"audio": sound_of(torch.zeros(16000))}, f"audio: found silence (-inf dB); {SPEECH}"),
        (talking(), {"audio": sound_of(torch.full((16000,), 0.5))}, f"audio: found silence (-inf dB); {SPEECH}"),
        (talking(), {"audio": sound_of(HUM)}, f"audio: found silence (-86 dB); {SPEECH}"),
    ],
)
def test_a_clip_that_cannot_be_scored_is_refused(good: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        LipSyncRequest.of(**good | changes)
    assert str(error.value) == message


def test_the_overshoot_of_a_filter_and_quiet_speech_are_let_through() -> None:
    frames = torch.rand(9, 8, 8, 3) * 1.08 - 0.04
    clip = checked_clip(frames, 25.0, sound_of(torch.randn(16000) * 2e-3))
    assert clip.pictures is frames and clip.windows == 4
