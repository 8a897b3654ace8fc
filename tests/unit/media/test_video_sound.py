from __future__ import annotations

import itertools
import math
from fractions import Fraction
from pathlib import Path

import av
import numpy
import pytest
import torch

from tests.unit.media.films import encoder, film, noise, packets, tone
from wan_core.errors import InputError
from wan_core.media.encoders import CODECS
from wan_core.media.sink import VideoSink
from wan_core.media.soundtrack import LARGEST_RATE_HZ, Soundtrack, blocks, plan_sound, rate_for, samples_for

FPS = Fraction(24000, 1001)
AAC_BLOCK = 1024


def heard(path: Path) -> Soundtrack:
    """The sound of a lossless file."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        samples = numpy.concatenate([block.to_ndarray()[0] for block in container.decode(stream)])  # packed, 32 bits
        waveform = torch.from_numpy(samples.reshape(-1, stream.channels).T / 2**31).float()
        return Soundtrack(waveform, stream.rate)


def end_s(path: Path, kind: str) -> Fraction:
    return max(packet.end_s for packet in packets(path, kind))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("seconds", [0.05, 1.0, 5.0])
def test_sound_and_picture_end_together(tmp_path: Path, codec: str, seconds: float) -> None:
    path = film(tmp_path, noise(40), codec=codec, fps=FPS, soundtrack=tone(seconds))
    one_block = Fraction(4096 if codec == "ffv1" else AAC_BLOCK, 48000)
    assert abs(end_s(path, "audio") - end_s(path, "video")) <= one_block
    assert abs(end_s(path, "video") - 40 / FPS) <= Fraction(1, 500)


@pytest.mark.parametrize("codec", CODECS)
def test_sound_lies_beside_its_picture(tmp_path: Path, codec: str) -> None:
    found = packets(film(tmp_path, noise(64), codec=codec, soundtrack=tone(4)))
    assert max(packet.duration_s for packet in found if packet.kind == "audio") < 0.1
    for kind, run in itertools.groupby(found, lambda packet: packet.kind):
        assert len(list(run)) <= 12, f"a long run of {kind}"  # a quarter of a second
    heard_until_s = Fraction(0)
    for packet in found:
        if packet.kind == "audio":
            heard_until_s = packet.end_s
        else:
            assert abs(packet.decode_s - heard_until_s) < 0.5


@pytest.mark.parametrize("codec", CODECS)
def test_a_click_is_heard_at_its_frame(tmp_path: Path, codec: str) -> None:
    """The encoders' delays are taken out again: a flash and a click at one second stay together."""
    rate_hz, at_frame = 48000, 16
    waveform = torch.zeros(1, 2 * rate_hz)
    waveform[:, rate_hz : rate_hz + 48] = 0.9
    frames = [numpy.full((48, 64, 3), 255 if index == at_frame else 0, dtype=numpy.uint8) for index in range(32)]
    path = film(tmp_path, frames, codec=codec, soundtrack=Soundtrack(waveform, rate_hz))
    with av.open(str(path)) as container:
        pictures = container.decode(video=0)
        flash_s = next(picture.time for picture in pictures if picture.to_ndarray(format="gray").max() > 128)
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            loud = numpy.abs(frame.to_ndarray().astype(float))
            place = int(loud.reshape(-1).argmax())
            if loud.max() > (0.3 if frame.format.name == "fltp" else 0.3 * 2**31):
                click_s = frame.time + place / rate_hz
                break
    assert flash_s == pytest.approx(1.0, abs=1e-3)
    assert click_s == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_channels_are_kept(tmp_path: Path, channels: int, kind: torch.dtype) -> None:
    loud = torch.arange(1, channels + 1).unsqueeze(1) / 10  # every channel has a loudness of its own
    waveform = (tone(2.5, channels=channels).waveform * loud).to(kind)
    found = heard(film(tmp_path, noise(40), codec="ffv1", soundtrack=Soundtrack(waveform, 48000)))
    assert (found.rate_hz, found.waveform.shape) == (48000, waveform.shape)
    torch.testing.assert_close(found.waveform, waveform.float(), rtol=0, atol=2**-22)


@pytest.mark.parametrize("channels", [3, 8])
def test_other_channels_become_mono_and_that_is_said(tmp_path: Path, channels: int) -> None:
    loud = torch.arange(1, channels + 1).unsqueeze(1) / 10  # every channel has a loudness of its own
    track = Soundtrack(tone(2.5, channels=channels).waveform * loud, 48000)
    with VideoSink(encoder("ffv1"), str(tmp_path), "clip", frames=40, soundtrack=track) as sink:
        assert sink.summary[1:] == (
            f"sound: {channels} channels mixed down to mono, because which speakers they are for is not known",
        )
        for frame in noise(40):
            sink.write(frame)
        found = heard(Path(sink.finish())).waveform
    torch.testing.assert_close(found, track.waveform.mean(dim=0, keepdim=True), rtol=0, atol=2**-22)


@pytest.mark.parametrize(
    ("rate_hz", "kept"), [(16000, 16000), (44100, 44100), (11000, 11025), (192000, 48000), (50000, 48000)]
)
def test_aac_gets_a_rate_that_it_has(rate_hz: int, kept: int) -> None:
    assert (rate_for("aac", rate_hz), rate_for("flac", rate_hz)) == (kept, rate_hz)


@pytest.mark.parametrize("channels", [2, 3])
def test_resampling_keeps_pitch_loudness_and_length(channels: int) -> None:
    track = tone(3, rate_hz=192000, channels=channels)
    plan = plan_sound(track, "mp4", 48, Fraction(16))
    assert any("resampled from 192000 to 48000 Hz, because aac has no such rate" in note for note in plan.changes)
    got = numpy.concatenate([block.to_ndarray() for block in blocks(track, plan, AAC_BLOCK)], axis=1)
    ideal = tone(3, channels=got.shape[0]).waveform.numpy()
    assert got.shape == ideal.shape
    assert numpy.abs(got - ideal)[:, 200:-200].max() < 1e-3


@pytest.mark.parametrize("rate_hz", [100, 11000, 44100, 192000, LARGEST_RATE_HZ])
@pytest.mark.parametrize("samples", [1, 2, 7])
@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_a_sound_as_short_as_a_sample_is_heard(container: str, samples: int, rate_hz: int) -> None:
    """Resampled it keeps about its sum: a filter smears it, and what it smears to before the start is lost."""
    track = Soundtrack(torch.full((2, samples), 0.5), rate_hz)
    plan = plan_sound(track, container, 48, Fraction(16))
    got = numpy.concatenate([block.to_ndarray() for block in blocks(track, plan, AAC_BLOCK)], axis=1)
    assert got.shape == (2, plan.samples)
    if rate_hz == plan.rate_hz:
        assert (got[:, :samples] == 0.5).all()
        assert not got[:, samples:].any()
    kept = got.sum(axis=1) / plan.rate_hz / (0.5 * samples / rate_hz)
    assert 0.5 < kept.min() <= kept.max() < 1.8


def test_a_rate_that_no_encoder_knows_is_refused() -> None:
    message = f"audio: found a sample rate of {LARGEST_RATE_HZ + 1} Hz; wanted at most {LARGEST_RATE_HZ} Hz"
    with pytest.raises(InputError, match=message):
        plan_sound(Soundtrack(torch.zeros(1, 9), LARGEST_RATE_HZ + 1), "mp4", 48, Fraction(16))


@pytest.mark.parametrize(
    ("seconds", "note"),
    [
        (1.0, "sound: 1.00 s of silence added, to end with the picture"),
        (3.5, "sound: 1.50 s cut off its end, to end with the picture"),
        (2.01, None),
        (2.0, None),
    ],
)
def test_what_is_cut_or_added_is_said_from_a_frame_on(seconds: float, note: str | None) -> None:
    assert plan_sound(tone(seconds), "mp4", 32, Fraction(16)).changes == ((note,) if note else ())


def test_blocks_follow_each_other_and_end_with_the_picture() -> None:
    track = tone(1.0)
    plan = plan_sound(track, "mp4", 33, FPS)
    got = list(blocks(track, plan, AAC_BLOCK))
    assert [block.pts for block in got] == list(range(0, plan.samples, AAC_BLOCK))
    assert sum(block.samples for block in got) == plan.samples == math.ceil(33 * 1001 / 24000 * 48000)
    whole = numpy.concatenate([block.to_ndarray() for block in got], axis=1)
    assert (whole[:, :48000] == track.waveform.numpy()).all()
    assert (whole[:, 48000:] == 0).all()


def test_samples_are_counted_in_fractions() -> None:
    rates = (Fraction(16), FPS, Fraction(30, 7))
    for frames, fps, rate_hz in itertools.product((1, 7, 100_000), rates, (16000, 44100)):
        exact = Fraction(frames) / fps * rate_hz
        assert 0 <= samples_for(frames, fps, rate_hz) - exact < 1


def test_the_soundtrack_is_left_as_it_is(tmp_path: Path) -> None:
    track = tone(1.0, channels=3)
    before = track.waveform.clone()
    film(tmp_path, noise(40), soundtrack=track)
    assert torch.equal(track.waveform, before)
