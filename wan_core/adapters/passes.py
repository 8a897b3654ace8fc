"""What is known of one sampling run and of one forward pass in it, and where the video's tokens lie in the pass."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..errors import InputError
from .kv_cache import KeysValues
from .tokens import Grid
from .wan import OF_SCAIL, RopePosition, WanNetwork

RUN = "wancast_run"  # in transformer_options
CONTEXT_WINDOW = "context_window"  # in the host's transformer_options: the part of the video that a pass sees
PIXELS_PER_LATENT = 8

Options = dict[str, Any]  # the host's transformer_options
Recall = Callable[[Hashable, Callable[[], KeysValues]], KeysValues]  # a cache on one device: key, build -> entry

# One sampling run


@dataclass(frozen=True, slots=True, eq=False)
class RunFacts:
    """One sampling run of one model."""

    negative: frozenset[object]  # ids of the conditions that guidance pushes away from
    weights_key: Callable[[], Hashable]  # tells the model's present weights from others
    sigma_of: Callable[[float], float]  # the schedule of the model by percent, 0 is pure noise
    latent_shape: tuple[int, int, int]  # t h w of the whole video


class LockedRun:
    """A sampling run with identities in it: its facts, and what its passes share."""

    def __init__(self, facts: RunFacts) -> None:
        self.facts = facts
        self.token_weights: dict[Hashable, list[Tensor | None]] = {}  # of masks and frame weights, made once
        self.logged: set[str] = set()  # warnings that the log has already


def run_of(options: Options) -> LockedRun:
    """The run of a pass; raises InputError when the sampler is not one that goes through the host's guiders."""
    if RUN not in options or not {"sigmas", "uuids"} <= options.keys():
        raise InputError(
            "model",
            found="a sampler that does not tell which conditioning is the negative one",
            wanted="a sampler that runs through ComfyUI's own guiders",
            fix="Use MoESampler, KSampler or SamplerCustomAdvanced.",
        )
    run: LockedRun = options[RUN]
    return run


# One forward pass


@dataclass(frozen=True, slots=True)
class VideoTokens:
    """The video among the tokens of one pass, and how many the model puts before it."""

    seen: Grid  # the part of the video that this pass sees
    whole: Grid  # the whole video, of which a context window shows a part
    size_px: tuple[int, int]  # height and width of the video
    before: int

    @property
    def span(self) -> slice:
        """The video's tokens in a sequence."""
        return slice(self.before, self.before + self.seen.tokens)


@dataclass(frozen=True, slots=True, eq=False)
class PassContext:
    """What one lock needs to know of a forward pass."""

    wan: WanNetwork
    like: Tensor  # the model's input, whose type and device those of keys and values are
    weights_key: Hashable  # tells the model's present weights from others
    recall: Recall
    is_negative: tuple[bool, ...]  # by row of the batch, whether it gets what the negative prompt gets
    token_weights: Tensor | None  # of the video's tokens that the pass sees, n; None where all are 1
    corner: RopePosition  # the first position before the video in time, and behind it in rows and columns
    portraits_between: int  # portraits that lie between this corner and the lock's own


def video_tokens(wan: WanNetwork, x: Tensor, inputs: Options, options: Options) -> VideoTokens:
    """Where the video lies in a pass over x (b c t h w), as the host's WanModel makes it."""
    latents, height, width = x.shape[2:]
    seen = Grid(latents, -(-height // wan.patch_size[1]), -(-width // wan.patch_size[2]))
    window = options.get(CONTEXT_WINDOW)
    whole = seen if window is None else Grid(window.total_frames, seen.rows, seen.columns)
    size_px = PIXELS_PER_LATENT * height, PIXELS_PER_LATENT * width
    return VideoTokens(seen, whole, size_px, before=latents_before(wan, inputs) * seen.rows * seen.columns)


def latents_before(wan: WanNetwork, inputs: Options) -> int:
    """The latent frames of references that the host's models put before the video: none where it is plain or behind."""
    reference = inputs.get("reference_latent")  # b c h w, or b c t h w
    if reference is None:
        return 0
    if wan.ref_conv is not None:  # Wan2.1 Fun
        return 1
    return reference.shape[2] if hasattr(wan, OF_SCAIL) else 0


def video_positions(wan: WanNetwork, video: VideoTokens, x: Tensor, options: Options) -> Tensor:
    """The rotary positions that the host gives the video's tokens, 1 n 1 d/2 2 2."""
    before = video.before // (video.seen.rows * video.seen.columns)
    latents, height, width = x.shape[2:]
    positions = wan.rope_encode(
        latents + before, height, width, device=x.device, dtype=x.dtype, transformer_options=options
    )
    return positions[:, video.span]


def require_whole_picture(x: Tensor, facts: RunFacts, options: Options) -> None:
    """Raises InputError when a pass sees a part of the picture or of the time that is no context window."""
    seen, whole = tuple(x.shape[2:]), facts.latent_shape
    if seen[1:] != whole[1:] or (options.get(CONTEXT_WINDOW) is None and seen[0] != whole[0]):
        raise InputError(
            "model",
            found="a prompt for an area of the video",
            wanted="prompts for the whole of it, with masks and frame weights",
            fix="Take the area off the prompt, or mask and frame_weights off ID Lock.",
        )


def row_is_negative(uuids: list[object], negative: frozenset[object], rows: int) -> tuple[bool, ...]:
    """For each of ``rows`` batch rows whether its condition is negative; raises InputError for an uneven batch."""
    if not uuids or rows % len(uuids):
        raise InputError(
            "model",
            found=f"a batch of {rows} rows for {len(uuids)} conditionings",
            wanted="as many rows for each conditioning",
            fix="Take away the node that splits the batch of conditionings.",
        )
    return tuple(uuid in negative for uuid in uuids for _ in range(rows // len(uuids)))
