from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from wan_core.audio.report import describe, plot
from wan_core.audio.sound import Sound
from wan_core.audio.tracks import analyse

QUARTER = torch.full((1, 16000), 0.25)


@pytest.mark.parametrize(
    ("waveform", "frames", "said"),
    [
        (QUARTER, 16, "16 frames at 16 fps = 1.000 s, the audio fits; 1 S2V chunk of 80 frames"),
        (QUARTER, 8, "8 frames at 16 fps = 0.500 s, 0.500 s of the audio cut off"),
        (QUARTER, 78, "78 frames at 16 fps = 4.875 s, 3.875 s of silence added; 2 S2V chunks"),
        (QUARTER, 16, "audio: 1.000 s at 16000 Hz, mono"),
        (QUARTER.expand(2, -1), 16, "2 channels, analysed as their mean"),
        (torch.cat((QUARTER, -QUARTER)), 16, "warning: the channels cancel out"),
        (QUARTER * 0, 16, "level: silence"),
        (torch.cat((QUARTER * 0, QUARTER), dim=1), 32, "loudest frame -12.0 dB at 1.03 s; 50 % of frames silent"),
    ],
)
def test_report_says_what_was_done(waveform: torch.Tensor, frames: int, said: str) -> None:
    sound = Sound(waveform, 16000)
    assert said in describe(sound, analyse(sound, frames, Fraction(16)))


def test_plot_is_an_image_and_shows_the_sound() -> None:
    loud, quiet = (analyse(Sound(QUARTER * gain, 16000), 16, Fraction(16)) for gain in (1.0, 0.01))
    assert plot(loud).shape == (1, 360, 960, 3)
    assert not torch.equal(plot(loud), plot(quiet))
