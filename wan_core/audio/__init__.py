"""Sound that is lined up with the frames of a video: ``analyse`` is the way in."""

from .analysis import AudioAnalysis, AudioEncoder, AudioRequest, analyse
from .report import describe, plot
from .tracks import TrackSet

__all__ = ["AudioAnalysis", "AudioEncoder", "AudioRequest", "TrackSet", "analyse", "describe", "plot"]
