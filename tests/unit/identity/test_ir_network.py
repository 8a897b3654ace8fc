from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.unit.identity.some_inputs import ir_params, noise, refused
from wan_core.identity.ir_network import IrBackbone, IrParams, IrUnitParams, build_ir_backbone

StateDict = dict[str, Tensor]
UNSCALED = {"output_layer.4.weight": torch.ones(512), "output_layer.4.bias": torch.zeros(512)}  # not in TFace's files


def random_weights(params: IrParams, seed: int = 0) -> StateDict:
    draw = torch.Generator().manual_seed(seed)
    weights = {}
    for key, value in IrBackbone(params, operations=nn, device="meta").state_dict().items():
        if key.endswith("num_batches_tracked"):
            weights[key] = torch.tensor(7)
        elif key.endswith("running_var"):
            weights[key] = torch.rand(value.shape, generator=draw) + 0.5
        elif not (params.is_tface and key in UNSCALED):
            weights[key] = torch.randn(value.shape, generator=draw) * 0.2
    return weights


def faces(count: int = 2) -> Tensor:
    return noise(count, 3, 112, 112, seed=9) * 2 - 1


TINY = ir_params((8, 12), (1, 2), squeezed_by=4, stem=8)


@pytest.mark.parametrize(("squeezed_by", "is_tface"), [(0, False), (4, False), (0, True)])
@pytest.mark.parametrize("stem", [8, 4])
@torch.no_grad()
def test_sizes_and_output_survive_a_round_trip(stem: int, squeezed_by: int, is_tface: bool) -> None:
    for widths, units in (((8,), (1,)), ((8, 12), (1, 2)), ((8, 12, 16, 24), (2, 1, 3, 1)), ((8, 4), (2, 2))):
        params = ir_params(widths, units, squeezed_by=squeezed_by, stem=stem, is_tface=is_tface)
        weights = random_weights(params)
        original = IrBackbone(params, operations=nn).eval()
        original.load_state_dict(UNSCALED | weights)
        rebuilt, derived = build_ir_backbone(weights, operations=nn)
        assert derived == params
        assert torch.equal(rebuilt(faces(1)), original(faces(1)))
        assert not any(tensor.is_meta for tensor in rebuilt.state_dict().values())


@pytest.mark.parametrize("is_tface", [False, True])
@torch.no_grad()
def test_the_network_is_the_published_formula(is_tface: bool) -> None:
    weights = random_weights(ir_params((4, 6), (1, 1), squeezed_by=0 if is_tface else 2, stem=4, is_tface=is_tface))
    w = UNSCALED | weights

    def norm(x: Tensor, key: str) -> Tensor:
        mean, var, scale, bias = (w[f"{key}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        per_channel = (1, -1, 1, 1) if x.ndim == 4 else (1, -1)
        mean, var, scale, bias = (value.view(per_channel) for value in (mean, var, scale, bias))
        return (x - mean) / torch.sqrt(var + 1e-5) * scale + bias

    def prelu(x: Tensor, key: str) -> Tensor:
        return torch.where(x > 0, x, x * w[key].view(1, -1, 1, 1))

    def conv(x: Tensor, key: str, stride: int = 1) -> Tensor:
        weight = w[key]
        return torch.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def residual(x: Tensor, key: str) -> Tensor:
        if is_tface:
            y = norm(conv(norm(x, f"{key}.0"), f"{key}.1.weight"), f"{key}.2")
            return norm(conv(prelu(y, f"{key}.3.weight"), f"{key}.4.weight", stride=2), f"{key}.5")
        y = prelu(conv(norm(x, f"{key}.0"), f"{key}.1.weight"), f"{key}.2.weight")
        y = norm(conv(y, f"{key}.3.weight", stride=2), f"{key}.4")
        gate = conv(torch.relu(conv(y.mean((2, 3), keepdim=True), f"{key}.5.fc1.weight")), f"{key}.5.fc2.weight")
        return y / (1 + torch.exp(-gate))

    x = prelu(norm(conv(faces(), "input_layer.0.weight"), "input_layer.1"), "input_layer.2.weight")
    x = torch.max_pool2d(x, 1, 2) + residual(x, "body.0.res_layer")
    shortcut = norm(conv(x, "body.1.shortcut_layer.0.weight", stride=2), "body.1.shortcut_layer.1")
    x = norm(shortcut + residual(x, "body.1.res_layer"), "output_layer.0").flatten(1)
    expected = norm(x @ w["output_layer.3.weight"].T + w["output_layer.3.bias"], "output_layer.4")
    network, _ = build_ir_backbone(weights, operations=nn)
    torch.testing.assert_close(network(faces()), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("with_counters", [True, False])
def test_the_published_curricularface_file_is_built(with_counters: bool) -> None:
    def norm(key: str, width: int) -> dict[str, tuple[int, ...]]:
        parts = ("weight", "bias", "running_mean", "running_var", *["num_batches_tracked"] * with_counters)
        return {f"{key}.{part}": (width,) for part in parts}

    shapes = {"input_layer.0.weight": (64, 3, 3, 3), "input_layer.2.weight": (64,)} | norm("input_layer.1", 64)
    widths = [64] * 3 + [128] * 13 + [256] * 30 + [512] * 3
    for unit, (width_in, width) in enumerate(zip([64, *widths], widths, strict=False)):
        inner, shortcut = f"body.{unit}.res_layer", f"body.{unit}.shortcut_layer"
        shapes |= norm(f"{inner}.0", width_in) | norm(f"{inner}.2", width) | norm(f"{inner}.5", width)
        shapes |= {f"{inner}.1.weight": (width, width_in, 3, 3), f"{inner}.4.weight": (width, width, 3, 3)}
        shapes |= {f"{inner}.3.weight": (width,)}
        if unit in (3, 16, 46):
            shapes |= {f"{shortcut}.0.weight": (width, width_in, 1, 1)} | norm(f"{shortcut}.1", width)
    shapes |= norm("output_layer.0", 512) | norm("output_layer.4", 512)
    shapes |= {"output_layer.3.weight": (512, 25088), "output_layer.3.bias": (512,)}
    shapes = {key: shape for key, shape in shapes.items() if key not in UNSCALED}
    assert len(shapes) == (917 if with_counters else 917 - 153)
    network, params = build_ir_backbone({k: torch.empty(v, device="meta") for k, v in shapes.items()}, operations=nn)
    assert sum(weight.numel() for weight in network.parameters()) == 65_150_912 + 2 * 512  # with the scale that is 1
    assert [index for index, unit in enumerate(params.units) if unit.stride == 2] == [0, 3, 16, 46]
    assert (params.family, params.label) == ("IR", "IR, 49 units, RGB")


def test_half_precision_files_are_computed_in_fp32() -> None:
    weights = {key: value.half() if value.is_floating_point() else value for key, value in random_weights(TINY).items()}
    assert build_ir_backbone(weights, operations=nn)[0](faces()).dtype == torch.float32


def test_the_label_names_family_and_depth() -> None:
    without = ir_params((8,), (2,), squeezed_by=0, stem=8)
    assert (TINY.family, TINY.label) == ("IR-SE", "IR-SE, 3 units, BGR")
    assert (without.family, without.label) == ("IR", "IR, 2 units, BGR")
    assert ir_params((64, 128, 256, 512), (3, 4, 14, 3), squeezed_by=16, stem=64).side == 7


WANTED = "an IR or IR-SE recogniser with 512 outputs, as facexlib's recognition_arcface_ir_se50.pth"
# Two stages of one width: shapes do not tell them apart.
ONE_WIDTH = IrParams(8, (IrUnitParams(8, 8, 2, 0), IrUnitParams(8, 8, 2, 0)), embedding_d=512, is_tface=False)
UNIT, PRELU, LAST = "body.1.res_layer.1.weight", "body.0.res_layer.2.weight", "output_layer.3.weight"
MORE = "and 4887 characters more"


def test_a_file_of_another_kind_is_named() -> None:
    for without, other, found in (
        (("",), {}, f"a file without a usable input_layer.0.weight, body.0.res_layer.1.weight, {LAST}"),
        ((LAST,), {}, f"a file without a usable {LAST}"),
        ((), {LAST: torch.zeros(512)}, f"a file without a usable {LAST}"),
        ((UNIT,), {}, f"a file without a usable {UNIT}"),
        ((), {UNIT: torch.zeros(12)}, f"a file without a usable {UNIT}"),
        (("body.1.res_layer.2.weight",), {}, "a file without 'body.1.res_layer.2.weight'"),
        ((), {"classifier.weight": torch.zeros(2)}, "a file with the unknown 'classifier.weight'"),
        ((), {PRELU: torch.zeros(1)}, f"a file with a wrong shape of '{PRELU}'"),
        ((), {PRELU: torch.zeros(8, dtype=torch.int64)}, f"a file with whole numbers in '{PRELU}'"),
        (
            (),
            {f"body.{'9' * 5000}.x": torch.zeros(1)},
            f"a file with the unknown 'body.{'9' * 115}' and 4887 characters more",
        ),
        ((), {LAST: torch.zeros(512, 10)}, f"{LAST} for 10 inputs where its units give 12 x 28^2"),
        ((), {LAST: torch.zeros(128, 12 * 28**2)}, "embeddings of 128 numbers"),
        (("",), random_weights(ONE_WIDTH), f"{LAST} for 6272 inputs where its units give 8 x 56^2"),
    ):
        weights = {key: value for key, value in random_weights(TINY).items() if not key.startswith(without)}
        with refused("encoder", found, WANTED):
            build_ir_backbone(weights | other, operations=nn)
