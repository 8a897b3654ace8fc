from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from wan_core.errors import InputError
from wan_core.identity.encoder import IrBackbone, IrShape, IrUnit, build_encoder, derive_shape

StateDict = dict[str, Tensor]


def shape_of(widths: tuple[int, ...], units: tuple[int, ...], squeeze: int, stem: int = 8) -> IrShape:
    built, width_in = [], stem
    for width, count in zip(widths, units, strict=True):
        for index in range(count):
            built.append(IrUnit(width_in, width, 2 if index == 0 else 1, squeeze))
            width_in = width
    return IrShape(stem=stem, units=tuple(built), embedding_d=512)


def random_weights(shape: IrShape, seed: int = 0) -> StateDict:
    draw = torch.Generator().manual_seed(seed)
    weights = {}
    for key, value in IrBackbone(shape, operations=nn, device="meta").state_dict().items():
        if key.endswith("num_batches_tracked"):
            weights[key] = torch.tensor(7)
        elif key.endswith("running_var"):
            weights[key] = torch.rand(value.shape, generator=draw) + 0.5
        else:
            weights[key] = torch.randn(value.shape, generator=draw) * 0.2
    return weights


def faces(count: int = 2) -> Tensor:
    return torch.rand(count, 3, 112, 112, generator=torch.Generator().manual_seed(9)) * 2 - 1


TINY = shape_of((8, 12), (1, 2), squeeze=2)


@pytest.mark.parametrize("squeeze", [0, 2])
@pytest.mark.parametrize("stem", [8, 4])
@pytest.mark.parametrize(
    ("widths", "units"), [((8,), (1,)), ((8, 12), (1, 2)), ((8, 12, 16, 24), (2, 1, 3, 1)), ((8, 4), (2, 2))]
)
@torch.no_grad()
def test_sizes_and_output_survive_a_round_trip(
    widths: tuple[int, ...], units: tuple[int, ...], stem: int, squeeze: int
) -> None:
    shape = shape_of(widths, units, squeeze, stem)
    original = IrBackbone(shape, operations=nn).eval()
    original.load_state_dict(random_weights(shape))
    rebuilt, derived = build_encoder(original.state_dict(), operations=nn)
    assert derived == shape
    assert torch.equal(rebuilt(faces(1)), original(faces(1)))
    assert not any(tensor.is_meta for tensor in rebuilt.state_dict().values())


@torch.no_grad()
def test_the_network_is_the_published_formula() -> None:
    shape = shape_of((4, 6), (1, 1), squeeze=2, stem=4)
    w = random_weights(shape)

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
        y = prelu(conv(norm(x, f"{key}.0"), f"{key}.1.weight"), f"{key}.2.weight")
        y = norm(conv(y, f"{key}.3.weight", stride=2), f"{key}.4")
        gate = conv(torch.relu(conv(y.mean((2, 3), keepdim=True), f"{key}.5.fc1.weight")), f"{key}.5.fc2.weight")
        return y / (1 + torch.exp(-gate))

    x = prelu(norm(conv(faces(), "input_layer.0.weight"), "input_layer.1"), "input_layer.2.weight")
    x = torch.max_pool2d(x, 1, 2) + residual(x, "body.0.res_layer")
    shortcut = norm(conv(x, "body.1.shortcut_layer.0.weight", stride=2), "body.1.shortcut_layer.1")
    x = norm(shortcut + residual(x, "body.1.res_layer"), "output_layer.0").flatten(1)
    expected = norm(x @ w["output_layer.3.weight"].T + w["output_layer.3.bias"], "output_layer.4")
    torch.testing.assert_close(build_encoder(w, operations=nn)[0](faces()), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_half_precision_files_are_computed_in_fp32() -> None:
    weights = {key: value.half() if value.is_floating_point() else value for key, value in random_weights(TINY).items()}
    network, _ = build_encoder(weights, operations=nn)
    assert network(faces()).dtype == torch.float32


def test_the_label_names_family_and_depth() -> None:
    assert TINY.label == "IR-SE, 3 units"
    assert (TINY.family, shape_of((8,), (2,), squeeze=0).family) == ("IR-SE", "IR")
    assert shape_of((8,), (2,), squeeze=0).label == "IR, 2 units"
    assert shape_of((64, 128, 256, 512), (3, 4, 14, 3), squeeze=4).side == 7


def without(*keys: str) -> Callable[[StateDict], StateDict]:
    return lambda weights: {key: value for key, value in weights.items() if key not in keys}


BAD_FILES = {
    "without a usable input_layer.0.weight, body.0.res_layer.1.weight, output_layer.3.weight": lambda weights: {},
    "found a file without a usable output_layer.3.weight": without("output_layer.3.weight"),
    "found a file without a usable body.1.res_layer.1.weight": without("body.1.res_layer.1.weight"),
    "found a file without body.1.res_layer.2.weight": without("body.1.res_layer.2.weight"),
    "with the unknown classifier.weight": lambda weights: {**weights, "classifier.weight": torch.zeros(2)},
    "with a wrong shape of body.0.res_layer.2.weight": lambda weights: {
        **weights,
        "body.0.res_layer.2.weight": torch.zeros(1),
    },
    "found output_layer.3.weight for 10 inputs where its units give 12 x 28^2": lambda weights: {
        **weights,
        "output_layer.3.weight": torch.zeros(512, 10),
    },
    "found embeddings of 128 numbers": lambda weights: {
        **weights,
        "output_layer.3.weight": torch.zeros(128, 12 * 28**2),
    },
}


@pytest.mark.parametrize(("message", "spoil"), BAD_FILES.items())
def test_a_file_of_another_kind_is_named(message: str, spoil: Callable[[StateDict], StateDict]) -> None:
    with pytest.raises(InputError) as caught:
        build_encoder(spoil(random_weights(TINY)), operations=nn)
    assert str(caught.value).startswith("encoder: ")
    assert message in str(caught.value)


def test_two_stages_of_one_width_are_refused_because_shapes_do_not_tell_them_apart() -> None:
    ambiguous = IrShape(stem=8, units=(IrUnit(8, 8, 2, 0), IrUnit(8, 8, 2, 0)), embedding_d=512)
    with pytest.raises(InputError, match="where its units give 8 x 56"):
        derive_shape(random_weights(ambiguous))
