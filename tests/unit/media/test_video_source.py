"""What a small file may become: read in a process of its own, whose peak is measured."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy
import pytest
import torch

from tests.unit.media.films import film, noise, tone
from wan_core.errors import InputError
from wan_core.media import source
from wan_core.media.soundtrack import Soundtrack
from wan_core.media.source import VideoSource

ROOT = Path(__file__).parents[3]
MIB = 2**20
FPS = Fraction(25)
SCORE = """
import sys
import torch
from tests.unit.lipsync.samples import small_syncnet, talking
from wan_core.errors import InputError
from wan_core.lipsync import LipSyncRequest, check, describe
from wan_core.media.source import VideoSource
def peak_kib():
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("VmHWM")).split()[1])
network, usual = small_syncnet(), talking(90)
torch.set_grad_enabled(False)
check(LipSyncRequest.of(**usual), network)  # what the work itself needs
before = peak_kib()
try:
    with VideoSource(sys.argv[1]) as video:
        audio = None if video._container.streams.audio else usual["audio"]
        request = LipSyncRequest.of(video, video.fps, audio)
        said = describe(check(request, network))
except InputError as error:
    said = str(error)
sys.stdout.write(f"{peak_kib() - before} {said}")
"""


def recorded(
    path: Path,
    width: int,
    height: int,
    frames: int,
    *,
    fps: Fraction = FPS,
    blocks: int = 0,
    codec: str = "flac",
    colours: str = "yuv420p",
) -> Path:
    """Black pictures, and behind them blocks of silence, eight channels of 655350 Hz, each in a few bytes."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=fps, width=width, height=height, pix_fmt=colours)
        video.options = {"preset": "ultrafast", "crf": "51"}
        sound = output.add_stream(codec, rate=655350, layout="7.1") if blocks else None
        picture = av.VideoFrame(width, height, colours)
        for plane in picture.planes:
            plane.update(bytes(plane.buffer_size))
        for picture.pts in range(frames):
            picture.time_base = 1 / fps
            output.mux(video.encode(picture))
        output.mux(video.encode(None))
        if sound is not None:
            sound.codec_context.options = {"frame_size": "65535"}
            silence = av.AudioFrame.from_ndarray(numpy.zeros((1, 8 * 65535), numpy.int16), format="s16", layout="7.1")
            silence.sample_rate, silence.time_base = 655350, Fraction(1, 655350)
            for block in range(blocks):
                silence.pts = block * 65535
                output.mux(sound.encode(silence))
            output.mux(sound.encode(None))
    return path


def joined(path: Path) -> Path:
    """A stream whose pictures grow in the middle."""
    parts = [recorded(path.with_name(f"{side}.ts"), side, side, n).read_bytes() for side, n in ((64, 40), (8192, 4))]
    path.with_suffix(".ts").write_bytes(b"".join(parts))
    return path.with_suffix(".ts")


def with_192_channels(path: Path) -> Path:
    content = recorded(path, 64, 64, 40, blocks=1, codec="pcm_s16le").read_bytes()
    path.write_bytes(content.replace(b"\x9f\x81\x08", b"\x9f\x81\xc0"))  # Matroska's element of the channels
    return path


SMALL_FILES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "Full HD": (lambda path: recorded(path, 1920, 1080, 90), "90 frames at 25 fps = 3.600 s, 1920x1080 px"),
    "67 megapixels": (lambda path: recorded(path, 8192, 8192, 4), "frames: found pictures of 8192 x 8192; wanted 1"),
    "deep colours": (
        lambda path: recorded(path, 4096, 2304, 2, colours="yuv444p10le"),
        "with 48 bits a pixel, of which the decoder may hold 17 at a time; wanted at most 229 MiB",
    ),
    "silence": (lambda path: recorded(path, 64, 64, 50, fps=FPS / 5, blocks=99), "a sound track of more than 8 MiB"),
    "an hour a picture": (lambda path: recorded(path, 64, 64, 9, fps=1 / Fraction(3600)), "wanted at least 5: "),
    "several sizes": (joined, "frames: found "),
    "192 channels": (with_192_channels, "frames: found a file that cannot be decoded"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of one program")
@pytest.mark.parametrize(("made", "said"), SMALL_FILES.values(), ids=SMALL_FILES)
def test_a_small_file_takes_little_memory_whatever_it_claims(
    tmp_path: Path, made: Callable[[Path], Path], said: str
) -> None:
    path = made(tmp_path / "small.mkv")
    command = [sys.executable, "-c", SCORE, str(path)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    peak_kib, _, words = found.stdout.partition(" ")
    assert said in words, found.stderr
    assert int(peak_kib) * 1024 <= 64 * MIB + 8 * path.stat().st_size


def test_a_damaged_file_is_read_or_refused(tmp_path: Path) -> None:
    chance, path = random.Random(0), tmp_path / "damaged"
    whole = [film(tmp_path, noise(9), codec=codec, soundtrack=tone(1)).read_bytes() for codec in ("h264", "ffv1")]
    outcomes = set()
    for _ in range(120):
        content = bytearray(chance.choice(whole))
        for _ in range(chance.choice((1, 9))):
            content[chance.randrange(min(len(content), chance.choice((900, 10**6))))] = chance.choice((0, 90, 255))
        path.write_bytes(content)
        try:
            with VideoSource(str(path)) as video:
                outcomes.add(f"{len(list(video))} frames, sound: {video.soundtrack() is not None}")
        except InputError as error:
            assert str(tmp_path) not in str(error)
            outcomes.add("refused")
    assert {"refused", "9 frames, sound: True"} <= outcomes


def test_a_part_of_a_file_has_its_frames_and_its_sound(tmp_path: Path) -> None:
    frames, track = noise(40), tone(5)
    path = str(film(tmp_path, frames, codec="ffv1", soundtrack=track))
    with VideoSource(path, start_s=0.5, duration_s=1.0) as part:
        assert part.frames == 16
        assert all((found == frame).all() for found, frame in zip(part, frames[8:24], strict=True))
        sound = part.soundtrack()
        assert sound is not None
        assert (sound.waveform - track.waveform[:1, 24000 : 24000 + sound.samples]).abs().max() < 2**-22
        assert sound.samples == 2 * 48000  # as far as the file's own second after the part


def moved(path: Path, **shift_s: float) -> str:
    """A film whose sound has a click at 1 s, with its streams moved in time; Matroska keeps milliseconds."""
    track = Soundtrack(torch.zeros(2, 3 * 48000), 48000)
    track.waveform[0, 48000] = 0.5
    with (
        av.open(str(film(path, noise(40), codec="ffv1", soundtrack=track))) as made,
        av.open(str(path / "m.mkv"), "w") as output,
    ):
        streams = [output.add_stream_from_template(stream) for stream in made.streams]
        for packet in made.demux():
            if packet.size:
                shift = round(shift_s.get(packet.stream.type, 0) / packet.time_base)
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                packet.stream = streams[packet.stream.index]
                output.mux(packet)
    return str(path / "m.mkv")


@pytest.mark.parametrize(
    ("shift_s", "start_s", "click_s"),
    [
        ({}, 0.0, 1.0),
        ({"audio": 0.5}, 0.0, 1.5),
        ({"audio": 0.5}, 0.25, 1.25),
        ({"audio": 0.5}, 0.75, 0.75),
        ({"video": 0.5}, 0.0, 0.5),
        ({"audio": 9.0, "video": 9.0}, 0.0, 1.0),
    ],
)
def test_sound_lies_beside_its_pictures_wherever_either_starts(
    tmp_path: Path, shift_s: dict[str, float], start_s: float, click_s: float
) -> None:
    with VideoSource(moved(tmp_path, **shift_s), start_s=start_s) as video:
        sound = video.soundtrack()
    assert sound is not None
    assert sound.waveform.nonzero().tolist() == [[0, round(48000 * click_s)]]
    assert sound.waveform.max() == 0.25  # the mean of two channels


def test_no_more_than_the_longest_film_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "LONGEST_S", 1)
    told: list[int] = []
    path = str(film(tmp_path, noise(40), codec="ffv1"))
    with VideoSource(path, progress=lambda seconds: told.append(seconds) or told.append) as video:
        assert video.frames == 17
    assert told == [1, *[0] * 16, 1]


def test_speech_at_a_low_rate_is_read(tmp_path: Path) -> None:
    """100 s of 16 kbit/s beside two pictures: 124 times their bytes."""
    path = str(tmp_path / "low.mkv")
    blocks = tone(100).waveform.numpy().reshape(2, -1, 960)  # c n s
    with av.open(path, "w") as output:
        video = output.add_stream("libx264", rate=Fraction(1, 50), width=64, height=64)
        speech = output.add_stream("libopus", rate=48000, layout="stereo", options={"b": "16000"})
        for _ in range(2):
            output.mux(video.encode(av.VideoFrame.from_ndarray(noise(1, 64, 64)[0])))
        for index in range(blocks.shape[1]):
            block = av.AudioFrame.from_ndarray(blocks[:, index].T.reshape(1, -1), format="flt", layout="stereo")
            block.sample_rate, block.pts, block.time_base = 48000, 960 * index, Fraction(1, 48000)
            output.mux(speech.encode(block))
        for stream in (video, speech):
            output.mux(stream.encode(None))
    with VideoSource(path) as low:
        sound = low.soundtrack()
    assert sound is not None
    heard_s = sound.waveform.nonzero()[:, 1] / 48000
    assert heard_s[0] < 0.1 and abs(heard_s[-1] - 100) < 0.1  # though winding back leads to the second picture


def test_a_file_without_a_picture_is_refused(tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    for path, reason in ((bad, "Invalid data"), (tmp_path / "missing.mp4", "No such file")):
        with pytest.raises(InputError, match=f"frames: found a file that does not open .'{reason}"):
            VideoSource(str(path))
