from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor

from wan_core.audio import AudioRequest, analyse, describe, plot
from wan_core.audio.fitting import fit_to_frames, frames_to_cover, require_fits
from wan_core.errors import InputError
from wan_core.media.sound import Sound

QUARTER = torch.full((1, 1, 16000), 0.25)


class RecordingEncoder:
    """An audio encoder that keeps what it was given."""

    def encode_audio(self, audio: Tensor, sample_rate: int) -> dict[str, Any]:
        self.given = audio, sample_rate
        return {"encoded_audio": torch.zeros(1, 49, 8), "encoded_audio_all_layers": [torch.zeros(1, 49, 8)] * 3}


class MusicEncoder(RecordingEncoder):
    """As the host's SheetSage2."""

    model_sample_rate = 24000


def request(waveform: Tensor = QUARTER, *, fps: float = 16.0, frames: int = 0) -> AudioRequest:
    return AudioRequest({"waveform": waveform, "sample_rate": 16000}, fps, frames)


@pytest.mark.parametrize(
    ("waveform", "frames", "said"),
    [
        (QUARTER, 16, "video: 16 frames at 16 fps = 1.000 s, the audio fits; 1 S2V chunk of 80 frames\nlevel"),
        (QUARTER, 8, "8 frames at 16 fps = 0.500 s, 0.500 s of the audio cut off"),
        (QUARTER, 78, "78 frames at 16 fps = 4.875 s, 3.875 s of silence added; 2 S2V chunks of 80 frames"),
        (QUARTER, 16, "audio: 1.000 s at 16000 Hz, mono\n"),
        (QUARTER, 16, "\nencoder: none linked, so audio_encoder_output is empty"),
        (QUARTER.expand(-1, 2, -1), 16, "2 channels, analysed as their mean"),
        (QUARTER * 0, 16, "level: silence (nothing above -80 dB)"),
        (
            torch.cat((QUARTER * 0, QUARTER), dim=2),
            32,
            "level: loudest frame -12.0 dB at 1.03 s; 50 % of frames silent",
        ),
    ],
)
def test_report_says_what_was_done(waveform: Tensor, frames: int, said: str) -> None:
    assert said in describe(analyse(request(waveform, frames=frames)))
    assert "8 frames at 24000/1001 = 23.976 fps = 0.334 s" in describe(analyse(request(fps=23.976, frames=8)))


def test_only_a_mix_that_lost_most_of_the_sound_is_noted() -> None:
    quieter, lost = (torch.cat((QUARTER, -share * QUARTER), dim=1) for share in (0.7, 0.9))  # by 15 dB, 25 dB
    assert analyse(request(quieter)).notes == ()
    warning = "\nwarning: the channels cancel out in the mono mix; use one of them alone\nencoder: "
    assert warning in describe(analyse(request(lost)))


def test_plot_is_an_image_and_shows_the_sound() -> None:
    loud, quiet = (plot(analyse(request(QUARTER * gain))) for gain in (1.0, 0.01))
    assert loud.shape == (1, 360, 960, 3)
    assert not torch.equal(loud, quiet)


def test_the_encoder_hears_the_fitted_sound_and_the_tracks_lie_beside_what_it_says() -> None:
    encoder = RecordingEncoder()
    analysis = analyse(request(frames=32), encoder=encoder)
    waveform, rate_hz = encoder.given
    assert torch.equal(waveform, torch.cat((QUARTER, 0 * QUARTER), dim=2)) and rate_hz == 16000
    assert torch.equal(analysis.fitted.waveform, waveform[0]) and analysis.sound.samples == 16000
    assert analysis.encoded is not None and analysis.encoded["wancast"] is analysis.tracks
    assert analysis.encoded.keys() == {"encoded_audio", "encoded_audio_all_layers", "wancast"}
    assert (analysis.tracks.frames, analysis.chunks) == (32, 1)
    assert "encoder: [1, 49, 8], 3 layers" in describe(analysis)
    assert "tensor" not in repr(analysis) + repr(request())


VIDEO = "wanted at least 45 ms of video. Ask for more frames."
SAMPLES = "wanted at least one sample a frame. Set the frame rate of the video."
HOURS = "1000000 at 16 fps, 62500 s of audio that need 3.7 GiB"
FREE = "wanted at most the 3.0 GiB of memory that are free. Ask for fewer frames, or free memory first."
LONGER = "wanted at least 45 ms of sound. Use a longer recording."
SPEECH = (
    "wanted an encoder of speech, which hears 16000 Hz. Load wav2vec2 or Whisper; "
    "Wan2.2 S2V was trained with wav2vec2 large."
)
LOADER = "wanted an audio encoder. Link the output of Load Audio Encoder."


def free_bytes(device: torch.device) -> float:
    return 3 * 2**30 if device.type == "cpu" else math.inf


@pytest.mark.parametrize(
    ("given", "changes", "message"),
    [
        (request(frames=-1), {}, "frames: found -1; wanted 0 or more. 0 takes the length of the audio."),
        (request(fps=30.0, frames=1), {}, f"frames: found 1 at 30 fps (33.3 ms); {VIDEO}"),
        (request(fps=16001.0), {}, f"fps: found 16001 frames a second for 16000 samples a second; {SAMPLES}"),
        (request(QUARTER[..., :719]), {}, f"audio: found 719 samples at 16000 Hz (44.9 ms); {LONGER}"),
        (request(), {"encoder": "text"}, f"audio_encoder: found str; {LOADER}"),
        (
            request(),
            {"encoder": MusicEncoder()},
            f"audio_encoder: found MusicEncoder, which hears 24000 Hz; {SPEECH}",
        ),
        (request(frames=1_000_000), {"free_bytes": free_bytes}, f"frames: found {HOURS}; {FREE}"),
    ],
)
def test_what_cannot_be_measured_is_refused(given: AudioRequest, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        analyse(given, **changes)
    assert str(error.value) == message


def test_frames_are_those_asked_for_or_as_many_as_the_audio_lasts_and_45_ms_at_least() -> None:
    sound = Sound(torch.rand(1, 44100 * 5 + 1), 44100)
    assert frames_to_cover(sound, 0, Fraction(16)) == 81
    assert frames_to_cover(sound, 77, Fraction(16)) == 77
    assert frames_to_cover(sound, 9, Fraction(200)) == 9
    with pytest.raises(InputError, match="wanted at least 45 ms of video"):
        frames_to_cover(sound, 8, Fraction(200))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("fps", [Fraction(16), Fraction(24000, 1001)])
@pytest.mark.parametrize("frames", [1, 16, 40, 77])
def test_fitting_keeps_the_samples_adds_only_silence_and_needs_every_byte(
    frames: int, fps: Fraction, dtype: torch.dtype
) -> None:
    sound = Sound((torch.rand(2, 22050) + 0.1).to(dtype), 22050)
    before = sound.waveform.clone()
    fitted = fit_to_frames(sound, frames, fps)
    assert fitted.samples == math.floor(frames * 22050 / fps)
    kept = min(fitted.samples, sound.samples)
    assert torch.equal(fitted.waveform[:, :kept], sound.waveform[:, :kept])
    assert not fitted.waveform[:, kept:].any()
    assert torch.equal(sound.waveform, before)
    require_fits(sound, frames, fps, fitted.waveform.nbytes)
    with pytest.raises(InputError, match=f"^frames: found {frames} at "):
        require_fits(sound, frames, fps, fitted.waveform.nbytes - 1)
