"""An adapter begins as nothing, and learns whom a vector means."""

from __future__ import annotations

from dataclasses import replace

import torch

from tests.unit.adapters.fake_wan import BLOCKS, TEXT_TOKENS, VIDEO_TOKENS, WIDTH_D, FakeWan
from tests.unit.training.some_clips import PERSONS, SomeClips, clip_of
from wan_core.adapters.adapter import AdapterNetwork
from wan_core.training import FitPlan, fit
from wan_core.training.examples import ClipExample, CrossClipPairs, Dropout
from wan_core.training.lite import LiteSize, lite_adapter
from wan_core.training.locked_pass import FrozenExpert, locked_velocity
from wan_core.training.noise import SigmaRange
from wan_core.training.objective import IdentityObjective, ObjectivePlan

SIZE = LiteSize(tokens=3, token_d=10, resampler_d=64, resampler_depth=1)


def trained_adapter() -> AdapterNetwork:
    network = lite_adapter(SIZE, width_d=WIDTH_D, blocks=BLOCKS, generator=torch.Generator().manual_seed(0))
    for number, parameter in enumerate(network.parameters()):
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
    return network


def test_an_adapter_that_is_not_trained_changes_nothing() -> None:
    network = lite_adapter(SIZE, width_d=WIDTH_D, blocks=BLOCKS, generator=torch.Generator().manual_seed(0))
    x, text = torch.randn(2, WIDTH_D, VIDEO_TOKENS, 1, 1), torch.randn(2, TEXT_TOKENS, 12)
    expert = FrozenExpert(FakeWan(), torch.float32)
    found = locked_velocity(expert, network, torch.randn(2, 1, 512), x, torch.full((2,), 0.5), text)
    assert torch.equal(found, FakeWan()(x, None, text, None, None, {}))


class Looks(SomeClips):
    """Every clip of a person is one latent, which nothing but the vector tells; where all have one, nothing does."""

    latents = 2 * torch.randn(3, WIDTH_D, 1, 1, 1, generator=torch.Generator().manual_seed(2)).expand(
        -1, -1, VIDEO_TOKENS, 1, 1
    )
    vectors = torch.nn.functional.normalize(torch.randn(3, 512, generator=torch.Generator().manual_seed(3)), dim=-1)
    empty_text = torch.zeros(TEXT_TOKENS, WIDTH_D)

    def clip(self, number: int) -> ClipExample:
        who = "abc".index(self.persons[number])
        parts = {"latent": self.latents[who], "text": self.empty_text, "boxes": torch.zeros(VIDEO_TOKENS, 4)}
        return replace(clip_of(number), **{"embedding": self.vectors[who]} | parts | self.changes)


def final_loss(clips: Looks) -> float:
    network = trained_adapter()
    plan = ObjectivePlan(SigmaRange(0.0, 1.0, 1.0), batch=12, dropout=Dropout(0, 0, 0))
    objective = IdentityObjective(
        FrozenExpert(FakeWan(), torch.float32), network, clips, CrossClipPairs(PERSONS, range(7)), plan
    )
    return fit(network, objective, FitPlan(50, 1e-2, precision="fp32", report_every=10)).curve[-1].losses["flow"]


def test_a_fit_learns_whom_a_vector_means() -> None:
    assert final_loss(Looks(PERSONS, {})) < 0.9 * final_loss(Looks(PERSONS, {"embedding": Looks.vectors[0]}))
