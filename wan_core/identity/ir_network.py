"""The IR / IR-SE face recogniser family: any size, read from the shapes of its weights.

Follows ArcFace (arXiv 1801.07698) in two key layouts of ``Backbone``. Networks in that of facexlib and
InsightFace_Pytorch see BGR. CurricularFace's IR-101, published in that of TFace (torchkit/backbone/model_irse.py), sees
RGB; that layout is told by the BatchNorm behind the first convolution of a unit, and has no scale and shift at its end.
Not in the shapes, and therefore fixed here: the first unit and every unit that widens have stride 2, BatchNorm eps is
1e-5.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..weights import Operations, StateDict, difference
from .record import CROP_PX, IDENTITY_D

# The weights that every file of this family has and that sizes are read from, and their number of axes.
DERIVED_FROM = {"input_layer.0.weight": 4, "body.0.res_layer.1.weight": 4, "output_layer.3.weight": 2}
ONLY_IN_TFACE = "body.0.res_layer.2.running_mean"


@dataclass(frozen=True, slots=True)
class IrUnitParams:
    """The sizes of one residual unit."""

    width_in: int  # channels
    width: int  # channels
    stride: int
    squeeze: int  # channels inside squeeze-and-excitation; 0: the unit has none


@dataclass(frozen=True, slots=True)
class IrParams:
    """The sizes of a whole recogniser."""

    stem: int  # channels after the input layer
    units: tuple[IrUnitParams, ...]
    embedding_d: int  # numbers in an embedding
    is_tface: bool  # of TFace's layout

    @property
    def channels(self) -> str:
        """The order in which it sees red, green and blue: "RGB" or "BGR"."""
        return "RGB" if self.is_tface else "BGR"

    @property
    def side(self) -> int:
        """Rows and columns of the last feature map: a 112 px crop halved, rounding up, by every stride of 2."""
        side = CROP_PX
        for unit in self.units:
            side = -(-side // unit.stride)
        return side

    @property
    def family(self) -> str:
        """IR-SE with squeeze-and-excitation, IR without."""
        return "IR-SE" if any(unit.squeeze for unit in self.units) else "IR"

    @property
    def label(self) -> str:
        """The name of the family, its depth and the channels it sees, for a person."""
        return f"{self.family}, {len(self.units)} units, {self.channels}"


# Layers


class SqueezeExcite(nn.Module):
    """Scales each channel of b c h w by a gate computed from its mean."""

    def __init__(self, width: int, squeeze: int, *, operations: Operations, device: str | None = None) -> None:
        super().__init__()
        self.fc1 = operations.Conv2d(width, squeeze, 1, bias=False, device=device)
        self.fc2 = operations.Conv2d(squeeze, width, 1, bias=False, device=device)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.fc2(torch.relu(self.fc1(x.mean(dim=(2, 3), keepdim=True))))  # b c 1 1
        return x * torch.sigmoid(gate)


class ResidualUnit(nn.Module):
    """BN-conv(-BN)-PReLU-conv-BN(-SE) beside a shortcut, b c h w; the BN in the middle is TFace's."""

    def __init__(
        self, unit: IrUnitParams, *, is_tface: bool, operations: Operations, device: str | None = None
    ) -> None:
        super().__init__()
        width_in, width = unit.width_in, unit.width
        self.stride = unit.stride
        self.shortcut_layer = None
        if width_in != width:
            self.shortcut_layer = nn.Sequential(
                operations.Conv2d(width_in, width, 1, unit.stride, bias=False, device=device),
                operations.BatchNorm2d(width, device=device),
            )
        self.res_layer = nn.Sequential(
            operations.BatchNorm2d(width_in, device=device),
            operations.Conv2d(width_in, width, 3, 1, 1, bias=False, device=device),
            nn.PReLU(width, device=device),
            operations.Conv2d(width, width, 3, unit.stride, 1, bias=False, device=device),
            operations.BatchNorm2d(width, device=device),
        )
        if is_tface:
            self.res_layer.insert(2, operations.BatchNorm2d(width, device=device))
        if unit.squeeze:
            self.res_layer.append(SqueezeExcite(width, unit.squeeze, operations=operations, device=device))

    def forward(self, x: Tensor) -> Tensor:
        thinned = x[:, :, :: self.stride, :: self.stride]
        return self.res_layer(x) + (thinned if self.shortcut_layer is None else self.shortcut_layer(x))


# Model


class IrBackbone(nn.Module):
    """Aligned faces b 3 112 112 in [-1, 1] -> raw embeddings b d; layer names are those of the weight files."""

    def __init__(self, params: IrParams, *, operations: Operations, device: str | None = None) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(
            operations.Conv2d(3, params.stem, 3, 1, 1, bias=False, device=device),
            operations.BatchNorm2d(params.stem, device=device),
            nn.PReLU(params.stem, device=device),
        )
        self.body = nn.Sequential(
            *(
                ResidualUnit(unit, is_tface=params.is_tface, operations=operations, device=device)
                for unit in params.units
            )
        )
        width = params.units[-1].width
        self.output_layer = nn.ModuleDict(
            {
                "0": operations.BatchNorm2d(width, device=device),
                "3": operations.Linear(width * params.side**2, params.embedding_d, device=device),
                "4": operations.BatchNorm2d(params.embedding_d, device=device),
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.output_layer["0"](self.body(self.input_layer(x)))  # b c h w
        x = self.output_layer["3"](x.flatten(1))  # b d
        return self.output_layer["4"](x[..., None, None]).flatten(1)


# Loading


def derive_params(state_dict: StateDict) -> IrParams:
    """Reads every size from the weights; raises InputError when they are not a recogniser of this family."""
    missing = [key for key, rank in DERIVED_FROM.items() if key not in state_dict or state_dict[key].ndim != rank]
    if missing:
        raise _not_a_recogniser(f"a file without a usable {', '.join(missing)}")
    matches = (re.match(r"body\.([0-9]{1,3})\.", key) for key in state_dict)
    count = 1 + max(int(match[1]) for match in matches if match)
    params = IrParams(
        stem=state_dict["input_layer.0.weight"].shape[0],
        units=tuple(_derive_unit_params(state_dict, index) for index in range(count)),
        embedding_d=state_dict["output_layer.3.weight"].shape[0],
        is_tface=ONLY_IN_TFACE in state_dict,
    )
    width, flat = params.units[-1].width, state_dict["output_layer.3.weight"].shape[1]
    if flat != width * params.side**2:
        raise _not_a_recogniser(
            f"output_layer.3.weight for {flat} inputs where its units give {width} x {params.side}^2"
        )
    return params


def build_ir_backbone(state_dict: StateDict, *, operations: Operations) -> tuple[IrBackbone, IrParams]:
    """The recogniser in fp32, ready to run, and its sizes; raises InputError naming keys that lack or are too many."""
    params = derive_params(state_dict)
    if params.embedding_d != IDENTITY_D:
        raise _not_a_recogniser(f"embeddings of {params.embedding_d} numbers")
    found = _without_counters(state_dict)
    if params.is_tface:
        unscaled = {"output_layer.4.weight": torch.ones(IDENTITY_D), "output_layer.4.bias": torch.zeros(IDENTITY_D)}
        found = unscaled | found
    wanted = _without_counters(IrBackbone(params, operations=nn, device="meta").state_dict())
    if problem := difference(found, wanted):
        raise _not_a_recogniser(f"a file {problem}")
    network = IrBackbone(params, operations=operations, device="meta")
    network.load_state_dict({key: value.float() for key, value in found.items()}, assign=True)
    return network.eval().requires_grad_(False), params


def _derive_unit_params(state_dict: StateDict, index: int) -> IrUnitParams:
    key = f"body.{index}.res_layer.1.weight"
    if key not in state_dict or state_dict[key].ndim != 4:
        raise _not_a_recogniser(f"a file without a usable {key}")
    width, width_in = state_dict[key].shape[:2]
    gate = state_dict.get(f"body.{index}.res_layer.5.fc1.weight")
    return IrUnitParams(
        width_in=width_in,
        width=width,
        stride=2 if index == 0 or width != width_in else 1,
        squeeze=0 if gate is None or gate.ndim != 4 else gate.shape[0],
    )


def _without_counters(state_dict: StateDict) -> StateDict:
    return {key: value for key, value in state_dict.items() if not key.endswith("num_batches_tracked")}


def _not_a_recogniser(found: str) -> InputError:
    return InputError(
        "encoder",
        found=found,
        wanted=f"an IR or IR-SE recogniser with {IDENTITY_D} outputs, as facexlib's recognition_arcface_ir_se50.pth",
        fix="Pick another file of models/face_recognition.",
    )
