"""The miniature weight files: the keys of the real ones, the same bytes every time, nothing half written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import safetensors.torch
import torch

from demo.miniature import adapters, files, sound, table, wan

# Their answers are constant, so that a test knows them.
KNOWING = (
    "detection/mini_landmarker.safetensors",
    "insightface/models/mini_pack/det_mini.onnx",
    "insightface/models/mini_pack/genderage.onnx",
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("models")
    list(files.build(models))
    return models


def tensors_of(path: Path) -> dict[str, torch.Tensor]:
    if path.suffix == ".pt":
        return torch.load(path, weights_only=True)
    if path.suffix == ".onnx":
        weights = onnx.load(path).graph.initializer
        return {weight.name: torch.from_numpy(onnx.numpy_helper.to_array(weight).copy()) for weight in weights}
    return safetensors.torch.load_file(path)


@pytest.mark.parametrize("name", files.FILES)
def test_every_number_is_finite_and_no_weight_is_constant(built: Path, name: str) -> None:
    tensors = tensors_of(built / name)
    assert all(torch.isfinite(tensor.float()).all() for tensor in tensors.values())
    large = [tensor for tensor in tensors.values() if tensor.ndim > 1 and tensor.numel() > 128]
    assert name in KNOWING or all(tensor.float().std() > 0 for tensor in large)


@pytest.mark.parametrize("name", files.FILES)
def test_a_file_is_the_same_to_the_byte_when_built_again(built: Path, name: str) -> None:
    assert files.FILES[name](Path(name).stem) == (built / name).read_bytes()


def test_a_complete_folder_is_current_until_a_file_or_the_stamp_is_lost(built: Path) -> None:
    assert files.is_current(built)
    gone = built / "vae" / "mini_wan22_vae.safetensors"
    content = gone.read_bytes()
    gone.unlink()
    assert not files.is_current(built)
    gone.write_bytes(content)
    (built / files.STAMP_NAME).write_text("made by other source")
    assert not files.is_current(built)
    (built / files.STAMP_NAME).write_text(files.stamp())
    assert files.is_current(built)


def test_a_failed_write_leaves_the_old_file_and_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folder" / "file"
    files.write_atomically(path, b"old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        files.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("kind", ["t2v", "i2v"])
def test_the_experts_share_their_layout_and_no_weights(built: Path, kind: str) -> None:
    high = tensors_of(built / f"diffusion_models/mini_{kind}_high.safetensors")
    low = tensors_of(built / f"diffusion_models/mini_{kind}_low.safetensors")
    assert {key: tensor.shape for key, tensor in high.items()} == {key: tensor.shape for key, tensor in low.items()}
    assert not any(torch.equal(high[key], low[key]) for key in high)


def test_a_patch_embedding_copies_the_noisy_latent_and_only_that() -> None:
    latent = torch.randn(1, 36, 1, 2, 2, generator=torch.Generator().manual_seed(0))  # b c t h w
    tokens = torch.nn.functional.conv3d(latent, wan.patch_rows(36), stride=wan.PATCH).flatten()  # d
    assert torch.equal(tokens[: wan.PATCH_SIZE], latent[0, :16].flatten())
    assert not tokens[wan.PATCH_SIZE :].any()


def test_the_speech_model_tells_the_host_what_shapes_do_not() -> None:
    config = json.loads(wan.config(speech=True)["config"])["transformer"]
    assert config["audio_dim"] == sound.SPEECH_WIDTH
    assert config["text_dim"] == wan.text_to_video()["text_embedding.0.weight"].shape[1]
    assert wan.AUDIO_LAYERS == sound.SPEECH_LAYERS + 1
    injectors = {key.split(".")[2] for key in wan.speech_parts() if key.startswith("audio_injector.injector.")}
    assert len(injectors) == len(config["audio_inject_layers"])


@pytest.mark.parametrize(
    ("table_of", "keys"),
    [
        (adapters.lite_ip_layers, {"to_k_ip.weight", "to_v_ip.weight"}),
        (adapters.full_ip_layers, {"registers", *(f"to_{x}_ip.{y}" for x in "kv" for y in ("weight", "bias"))}),
        (adapters.ref_layers, {f"to_{x}_ref.{y}" for x in "kv" for y in ("weight", "bias")}),
        (adapters.stand_in, {f"self_attn.{x}_loras.{y}.weight" for x in "qkv" for y in ("down", "up")}),
    ],
)
def test_an_adapter_has_the_published_keys(table_of: Callable[[], table.Table], keys: set[str]) -> None:
    assert {key.removeprefix("blocks.").split(".", 1)[1] for key in table_of()} == keys


def test_the_speech_file_holds_its_noise_once(built: Path) -> None:
    path = built / "audio_encoders/mini_wav2vec2.pt"
    numbers = sum(tensor.numel() for tensor in tensors_of(path).values())
    assert numbers > 300e6
    assert path.stat().st_size < 10e6


def test_the_tokenizer_reads_any_language_and_has_the_marks_of_umt5(built: Path) -> None:
    import sentencepiece

    model = tensors_of(built / "text_encoders/mini_umt5.safetensors")["spiece_model"]
    tokenizer = sentencepiece.SentencePieceProcessor(model_proto=model.numpy().tobytes())
    for text in ("a woman walks in the rain", "\u4e00\u4f4d\u5987\u4eba"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert [tokenizer.id_to_piece(mark) for mark in range(3)] == ["<pad>", "</s>", "<unk>"]


def test_a_zero_sum_weight_passes_no_constant_on() -> None:
    entry = table.Entry((4, 3, 3, 3), std=1.0, zero_sum=True, blur=0.5)
    weight = table.fill({"weight": entry}, "name")["weight"]
    passed = torch.nn.functional.conv2d(torch.full((1, 3, 5, 5), 7.0), weight)
    torch.testing.assert_close(passed, torch.zeros_like(passed), atol=1e-4, rtol=0)
