"""Whatever a sampling run cannot use is refused by name."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from wan_core.errors import InputError
from wan_core.moe import Schedule
from wan_core.moe.inputs import require_finite, require_latent, require_start

SAMPLES = torch.zeros(1, 16, 1, 8, 8)
NESTED = SimpleNamespace(is_nested=True, unbind=lambda: [SAMPLES, torch.zeros(1, 8, 4)])  # as the host's
LATENT = "latent_image: found {}; wanted LATENT. Connect an empty latent for Wan video."
ONE_LIST = "sigmas: found {}; wanted SIGMAS, one list of noise levels. Connect a scheduler."
ONE_STEP = "sigmas: found {}; wanted at least 2 (one step). Raise steps or denoise."
OF_FLOW = "sigmas: found {}; wanted values from 0 to 1. Use a scheduler for flow models."
PARTS = (
    "latent_image: found a nested latent of {}, as of a video with its sound; wanted the latent of one video, "
    "because Wan makes no sound. Connect an empty latent for Wan video, or take the video out with Separate AV Latent."
)
MASK = (
    "latent_image: found a noise mask of {}; wanted finite [height, width], with frames and batch in front of it if "
    "they differ. Set the mask with Set Latent Noise Mask."
)
REAL = (
    "latent_image: found samples of {}; wanted real numbers in floating point. Connect an empty latent for Wan video."
)
CLIPS = (
    "latent_image: found a batch_index of {}; wanted a number from 0 to 9999 for each clip. Take the clip with "
    "Latent From Batch."
)
RATIO = (
    "latent_image: found a downscale_ratio_{}; wanted a number from 1 to 128. Connect an empty latent for Wan video."
)
VALUES = "latent_image: found NaN or infinite values; wanted finite values. Check what made this latent."


@pytest.mark.parametrize(
    ("latent", "found", "message"),
    [
        (None, "NoneType", LATENT),
        ("latent", "str", LATENT),
        ({"noise": 1}, "dict", LATENT),
        ({"samples": [1]}, "dict", LATENT),
        ({"samples": NESTED}, "2 parts", PARTS),
        ({"samples": SimpleNamespace(is_nested=True, unbind=lambda: [SAMPLES])}, "1 part", PARTS),
        (
            {"samples": SAMPLES.to(torch.complex64)},
            "dict with a tensor of torch.complex64, torch.strided, on cpu",
            LATENT,
        ),
        ({"samples": SAMPLES, "batch_index": ["a"]}, "1 items", CLIPS),
        ({"samples": SAMPLES, "batch_index": -5}, "int", CLIPS),
        ({"samples": SAMPLES, "batch_index": [-5]}, "1 items", CLIPS),
        ({"samples": SAMPLES, "batch_index": [10_000]}, "1 items", CLIPS),
        ({"samples": SAMPLES, "batch_index": [0, 1]}, "2 items", CLIPS),
        ({"samples": SAMPLES, "downscale_ratio_spacial": "x"}, "spacial of 'x'", RATIO),
        ({"samples": SAMPLES, "downscale_ratio_temporal": 0}, "temporal of 0", RATIO),
    ],
)
def test_what_is_no_latent_is_refused(latent: object, found: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        require_latent(latent)
    assert str(refused.value) == message.format(found)


@pytest.mark.parametrize(
    ("latent", "mask", "message"),
    [
        (SAMPLES + torch.nan, None, VALUES),
        (SAMPLES, "x", MASK.format("str")),
        (SAMPLES, torch.ones(8, 8).bool(), MASK.format("torch.bool (torch.strided, cpu)")),
        (SAMPLES, torch.ones(8, 8).to_sparse(), MASK.format("torch.float32 (torch.sparse_coo, cpu)")),
        (SAMPLES, torch.ones(8, 8, device="meta"), MASK.format("torch.float32 (torch.strided, meta)")),
        (SAMPLES.to(torch.complex64), None, REAL.format("torch.complex64 (torch.strided, cpu)")),
        (SAMPLES, torch.ones(8), MASK.format("shape [8]")),
        (SAMPLES, torch.ones(0, 8), MASK.format("shape [0, 8]")),
        (SAMPLES, torch.ones(1, 17, 1, 8, 8), MASK.format("shape [1, 17, 1, 8, 8]")),
        (SAMPLES, torch.full((8, 8), torch.nan), MASK.format("NaN or infinite values")),
    ],
)
def test_values_and_masks_that_no_expert_can_start_from_are_refused(
    latent: torch.Tensor, mask: object, message: str
) -> None:
    with pytest.raises(InputError) as refused:
        require_start(latent, mask)
    assert str(refused.value) == message


@pytest.mark.parametrize("mask", [None, torch.ones(8, 8), torch.ones(2, 1, 8, 8)])
def test_a_latent_with_or_without_a_mask_passes(mask: torch.Tensor | None) -> None:
    require_latent({"samples": SAMPLES, "batch_index": [3], "downscale_ratio_spacial": 8})
    require_start(SAMPLES, mask)


@pytest.mark.parametrize(
    ("sigmas", "found", "message"),
    [
        ("simple", "str", ONE_LIST),
        ([1.0, 0.0], "2 items", ONE_LIST),
        (torch.ones(2).to(torch.complex64), "torch.complex64 (torch.strided, cpu)", ONE_LIST),
        (torch.zeros(6, 2), "a tensor of shape [6, 2]", ONE_LIST),
        (torch.tensor([]), "0 values", ONE_STEP),
        (torch.tensor([1.0]), "1 values", ONE_STEP),
        (torch.tensor([14.6, 0.0]), "14.6", OF_FLOW),
        (torch.tensor([1.0, float("nan"), 0.0]), "nan", OF_FLOW),
        (torch.tensor([0.5, -0.1]), "-0.1", OF_FLOW),
    ],
)
def test_what_is_no_schedule_is_refused(sigmas: object, found: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        Schedule(sigmas)
    assert str(refused.value) == message.format(found)


@pytest.mark.parametrize("end", [1.0, 1.0 + 1e-7, 1.0 - 1e-7])
def test_a_run_that_ends_as_pure_noise_is_refused(end: float) -> None:
    with pytest.raises(InputError) as refused:
        Schedule(torch.tensor([0.3, 0.7, end])).part()
    assert str(refused.value) == (
        "sigmas: found a run that ends at sigma 1; wanted an end below 1, because a latent of pure noise would be "
        "infinite. End it at 0.999: to turn a schedule around, put Set First Sigma before Flip Sigmas."
    )


@pytest.mark.parametrize(("sigmas", "found"), [([1.0, 0.5, 0.0, 0.0], "3 of 3"), ([0.0, 0.5, 0.9], "1 of 2")])
def test_a_step_that_starts_without_noise_is_refused(sigmas: list[float], found: str) -> None:
    with pytest.raises(InputError, match=f"^sigmas: found step {found} that starts at sigma 0; wanted a start above 0"):
        Schedule(torch.tensor(sigmas)).part()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_sampled_latent_that_is_not_finite_is_refused(bad: float) -> None:
    require_finite(SAMPLES)
    with pytest.raises(InputError, match="^latent_image: found NaN or infinite values in the sampled latent;"):
        require_finite(torch.cat([SAMPLES, SAMPLES + bad]))


@pytest.mark.parametrize("sigmas", [[1.0, 0.0], [0.3, 0.7, 0.999], [1.0 + 1e-7, 0.5]])
def test_a_schedule_of_a_flow_passes(sigmas: list[float]) -> None:
    assert Schedule(torch.tensor(sigmas)).part().tolist() == torch.tensor(sigmas).tolist()
