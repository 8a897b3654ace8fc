"""What a weight may be, how keys of a file are said, and what the name of a file says."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from wan_core.weights import (
    WeightFileError,
    difference,
    fault_of,
    largest_size,
    level_in_name,
    require_plain_name,
    shown,
)

NOT_FINITE, NOT_PLAIN = "holds NaN or an infinity", "is not stored as plain numbers"
FP8_NAN = torch.tensor([0x7F], dtype=torch.uint8)


@pytest.mark.parametrize(
    ("weight", "fault"),
    [
        (torch.ones(2, 3), None),
        (torch.ones(2, 3).T, None),
        (torch.ones(6)[2:4], None),
        (nn.Parameter(torch.tensor(1.0)), None),
        (torch.zeros((), dtype=torch.int64), None),
        (torch.ones(2).to(torch.float8_e4m3fn), None),
        (torch.ones(2).to(torch.float8_e5m2), None),
        (3, "is no weight"),
        (torch.ones(2, device="meta"), NOT_PLAIN),
        (torch.eye(2).to_sparse(), NOT_PLAIN),
        (torch.ones(2, dtype=torch.complex64), "is of type complex64, which no weight has"),
        (torch.ones(2, dtype=torch.bool), "is of type bool, which no weight has"),
        (torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8), "is of type qint8, which no weight has"),
        (torch.ones(0), "is empty"),
        (torch.ones(1).expand(9), "repeats its bytes"),
        (torch.ones(5).as_strided((3, 3), (1, 1)), "repeats its bytes"),
        (torch.full((7,), torch.nan), "repeats the bytes of others"),
        (torch.tensor([1.0, torch.nan]), NOT_FINITE),
        (torch.tensor([torch.inf]).half(), NOT_FINITE),
        (torch.tensor([1e300], dtype=torch.float64), NOT_FINITE),
        (FP8_NAN.view(torch.float8_e4m3fn), NOT_FINITE),
        (FP8_NAN.view(torch.float8_e5m2), NOT_FINITE),
    ],
)
def test_a_weight_is_finite_numbers_in_bytes_of_its_own(weight: object, fault: str | None) -> None:
    assert fault_of(weight, 24) == fault


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_every_number_of_eight_bits_is_read_as_torch_reads_it(dtype: torch.dtype) -> None:
    for number in torch.arange(256, dtype=torch.uint8).view(dtype):
        size = float(number.float().abs())
        assert largest_size(number) == pytest.approx(size, nan_ok=True)
        assert (fault_of(number[None].clone(), 1) is None) == (size < float("inf"))


@pytest.mark.parametrize("name", [1, None, ("a",), "a\n", "\ud800", "\u202e", "k" * 301])
def test_a_name_that_cannot_be_printed_is_refused(name: object) -> None:
    require_plain_name("k\u00a0" * 150)
    with pytest.raises(WeightFileError, match="^it calls a weight ") as caught:
        require_plain_name(name)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


def test_keys_are_quoted_and_the_first_of_them_shown() -> None:
    assert shown(["a", "b\u202e"]) == r"'a', 'b\u202e'"
    assert shown([str(number) for number in range(10)]).endswith("'7' and 2 more")


def test_a_file_differs_by_keys_shapes_and_whole_numbers() -> None:
    wanted = {"a": torch.ones(1), "b": torch.ones(1), "c": torch.ones(1)}
    found: dict[str, Tensor] = {"b": torch.ones(2), "c": torch.ones(1, dtype=torch.int8), "d": torch.ones(1)}
    assert difference(found, wanted) == (
        "without 'a' and with the unknown 'd' and with a wrong shape of 'b' and with whole numbers in 'c'"
    )
    assert difference(wanted, wanted) == ""


LEVELS = {  # names as published or renamed -> the level that they say
    "Wan2_2-T2V-A14B-{}_fp8_e4m3fn_scaled_KJ.safetensors": True,
    "Wan2_2_Fun_VACE_module_A14B_{}_bf16.safetensors": True,
    "Wan2.2-I2V-A14B-{}Noise-Q4_K_M.gguf": True,
    "Wan22_A14B_T2V_{}_Lightning_4steps_lora_250928_rank128_fp16.safetensors": True,
    "Wan_2_2_I2V_A14B_{}_lightx2v_4step_lora_v1030_rank_64_bf16.safetensors": True,
    "Wan2.2-Lightning_T2V-A14B-4steps-lora_{}_fp16.safetensors": True,
    "TurboWan2.2-I2V-A14B-{}-720P-quant.pth": True,
    "Stand-In_wan2.2_T2V_A14B_{}.ckpt": True,
    "{}_noise_model.safetensors": True,
    "wan22_noise_{}.safetensors": True,
    "high_vram_{}_noise_low_quality.safetensors": True,  # beside noise it counts, whatever else there is
    "Wan2.2-Fun-A14B-InP_{}": True,
    "wan2.2_vace_fun_{}": True,
    "wan2.2_camera_{}_control.safetensors": True,
    "Wan22_Turbo_{}": True,
    "model_{}_mxfp8.safetensors": False,
    "wan22_i2v_{}_nvfp4_mixed": True,
    "wan2.2_T2V_A14B_{}_mxfp8.safetensors": True,
    "{}_noise_model/diffusion_pytorch_model.safetensors": True,
    "{}_fp8_quality": False,
    "{}_1080p": False,
    "wan_{}_4steps": False,
    "{}": True,
    "{}_vram_wan2.2_t2v.safetensors": False,
    "wan2.2_t2v_14B-{}-quality.safetensors": False,
    "wan2.2_i2v_quality_{}_fp8.safetensors": False,
    "i2v_{}Vram_fp8.safetensors": False,
    "wan2.2_14B_{}_rank_64.safetensors": False,
    "wan2.2_{}_steps.safetensors": False,
    "{}8bit.safetensors": False,
    "wan-{}2.safetensors": False,
    "high_low_{}_merge.safetensors": False,
    "high_noise_low_noise_{}.safetensors": False,
}


@pytest.mark.parametrize("level", ["high", "low", "HIGH", "LOW", "High", "Low"])
def test_a_name_says_a_level_beside_noise_or_between_words_of_such_names(level: str) -> None:
    says = {name: level_in_name(f"low/{name.format(level)}") for name in LEVELS}
    assert says == {name: level.lower() if counts else None for name, counts in LEVELS.items()}
    for name in ("RemixT2VI2V_i2vHighV20", "I2VHighNoise_fp8", "I2V14B_i2vV20High", "nsfwV2FP8High"):
        assert level_in_name(rf"low\wan22{name}.safetensors") == "high"
