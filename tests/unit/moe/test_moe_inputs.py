"""Whatever a sampling run cannot use is refused by name."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from wan_core.errors import InputError
from wan_core.moe import Schedule
from wan_core.moe.inputs import require_finite, require_latent

SAMPLES = torch.zeros(1, 16, 1, 8, 8)
NESTED = SimpleNamespace(is_nested=True, unbind=lambda: [SAMPLES, torch.zeros(1, 8, 4)])  # as the host's
LATENT = "latent_image: found {}; wanted LATENT. Connect an empty latent for Wan video."
ONE_LIST = "sigmas: found {}; wanted SIGMAS, one list of noise levels. Connect a scheduler."
ONE_STEP = "sigmas: found {}; wanted at least 2 (one step). Raise steps or denoise."
OF_FLOW = "sigmas: found {}; wanted values from 0 to 1. Use a scheduler for flow models."
PARTS = (
    "latent_image: found a nested latent of {} parts, as of a video with its sound; wanted the latent of one video, "
    "because Wan makes no sound. Connect an empty latent for Wan video, or take the video out with Separate AV Latent."
)
MASK = (
    "latent_image: found a noise mask of shape {}; wanted [height, width], with frames and batch in front of it if "
    "they differ. Set the mask with Set Latent Noise Mask."
)


@pytest.mark.parametrize(
    ("latent", "found", "message"),
    [
        (None, "NoneType", LATENT),
        ("latent", "str", LATENT),
        ({"noise": 1}, "dict", LATENT),
        ({"samples": [1]}, "dict", LATENT),
        ({"samples": SAMPLES, "noise_mask": torch.ones(8)}, "[8]", MASK),
        ({"samples": NESTED}, "2", PARTS),
    ],
)
def test_what_is_no_latent_is_refused(latent: object, found: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        require_latent(latent)
    assert str(refused.value) == message.format(found)


@pytest.mark.parametrize("mask", [None, torch.ones(8, 8), torch.ones(2, 1, 8, 8)])
def test_a_latent_with_or_without_a_mask_passes(mask: torch.Tensor | None) -> None:
    assert require_latent({"samples": SAMPLES} | ({} if mask is None else {"noise_mask": mask})) is None


@pytest.mark.parametrize(
    ("sigmas", "found", "message"),
    [
        ("simple", "str", ONE_LIST),
        ([1.0, 0.0], "2 items", ONE_LIST),
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


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_sampled_latent_that_is_not_finite_is_refused(bad: float) -> None:
    require_finite(SAMPLES)
    with pytest.raises(InputError, match="^latent_image: found NaN or infinite values in the sampled latent;"):
        require_finite(torch.cat([SAMPLES, SAMPLES + bad]))


@pytest.mark.parametrize("sigmas", [[1.0, 0.0], [0.3, 0.7, 0.999], [1.0 + 1e-7, 0.5]])
def test_a_schedule_of_a_flow_passes(sigmas: list[float]) -> None:
    assert Schedule(torch.tensor(sigmas)).part().tolist() == torch.tensor(sigmas).tolist()
