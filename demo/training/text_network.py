"""The text encoder of the miniature cast: the host's UMT5 class, small, and its own tokenizer.

Layout of the file: the host's UMT5-XXL, which carries the sentencepiece model as bytes.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import safetensors.torch
import sentencepiece
import torch
from torch import Tensor, nn

from demo import world
from devtools.host_modules import host_module

from .expert_network import TEXT_TOKENS, TEXT_WIDTH

FILE = "cast_umt5.safetensors"
TOKENIZER_KEY = "spiece_model"
PAD, END, UNKNOWN = 0, 1, 2  # the marks of UMT5
CONTEXT_TOKENS = 48  # of a prompt that is cut short for a training
TOKENS_PER_FRAME = (world.SIZE_PX // 16) ** 2  # of a latent frame
assert CONTEXT_TOKENS % TOKENS_PER_FRAME and CONTEXT_TOKENS <= TEXT_TOKENS, "text is told from video by its length"
CONFIG = {
    "d_model": TEXT_WIDTH,
    "d_ff": 128,
    "d_kv": 16,
    "num_heads": 4,
    "num_layers": 2,
    "dense_act_fn": "gelu_pytorch_tanh",
    "is_gated_act": True,
    "model_type": "umt5",  # every block has a position bias of its own
}


def tokenizer_model(captions: Iterable[str], phrases: Sequence[str], vocabulary: int) -> bytes:
    """A sentencepiece model whose ``phrases`` are one piece each; byte pieces let it read any language."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(captions),
        model_writer=model,
        model_type="bpe",
        vocab_size=vocabulary,
        user_defined_symbols=list(phrases),
        byte_fallback=True,
        normalization_rule_name="identity",  # the tables of others weigh more than all the rest
        character_coverage=1.0,
        pad_id=PAD,
        eos_id=END,
        unk_id=UNKNOWN,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def _with_a_copy(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    """The host adds to a norm's input in place, and its gradient needs the input as it was."""
    return (inputs[0].clone(),)


def umt5(vocabulary: int) -> nn.Module:
    """An untrained encoder, as T5 is begun: everything passes on what it gets in the same size."""
    operations = host_module("comfy.ops").disable_weight_init
    config = CONFIG | {"vocab_size": vocabulary}
    network = host_module("comfy.text_encoders.t5").T5(config, torch.float32, torch.device("cpu"), operations)
    for module in network.modules():
        if isinstance(module, host_module("comfy.text_encoders.t5").T5LayerNorm):
            module.register_forward_pre_hook(_with_a_copy)
    for name, value in network.named_parameters():
        if value.ndim == 1:
            nn.init.ones_(value)
        elif name.endswith((".q.weight", ".wo.weight")):
            nn.init.normal_(value, std=(value.shape[1] * (CONFIG["d_kv"] if ".q." in name else 1)) ** -0.5)
        elif name.endswith(("shared.weight", "relative_attention_bias.weight")):
            nn.init.normal_(value, std=1.0 if name == "shared.weight" else 0.1)
        else:
            nn.init.normal_(value, std=value.shape[1] ** -0.5)
    return network


class PromptReader:
    """A tokenizer and an encoder, read from a file's tensors: prompts to contexts."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        model = bytes(tensors[TOKENIZER_KEY].tolist())
        self.tokenizer = sentencepiece.SentencePieceProcessor(model_proto=model, add_eos=True)
        self.network = umt5(self.tokenizer.vocab_size())
        self.network.load_state_dict({key: value for key, value in tensors.items() if key != TOKENIZER_KEY})

    @classmethod
    def of_file(cls, path: Path) -> PromptReader:
        return cls(safetensors.torch.load_file(path))

    def contexts(self, prompts: Sequence[str], tokens: int = CONTEXT_TOKENS) -> Tensor:
        """The embedded tokens of prompts, b n d, zeros after the end; ``tokens=512`` is what the host makes."""
        ids = padded([self.tokenizer.encode(prompt) for prompt in prompts], tokens)
        with torch.no_grad():
            return encoded(self.network, ids)


def padded(rows: Sequence[Sequence[int]], tokens: int = CONTEXT_TOKENS) -> Tensor:
    """Tokens b n with padding at the end; raises ValueError for a prompt that is longer."""
    if (longest := max(map(len, rows))) >= tokens:
        raise ValueError(f"a prompt has {longest} tokens, at most {tokens - 1} fit")
    return torch.tensor([[*row, *[PAD] * (tokens - len(row))] for row in rows])


def encoded(network: nn.Module, ids: Tensor) -> Tensor:
    """Tokens b n to vectors b n d, zero where there is padding."""
    is_text = (ids != PAD).long()
    vectors, _ = network(ids, is_text)
    return vectors.float() * is_text[..., None]
