"""The text encoder of the miniature cast: the host's own numbers, and what a caption may leave out."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import Tensor

from demo import world
from demo.training import text, text_network
from devtools.host_modules import host_module

RED = "\u7ea2\u8272"
PROMPTS = (
    "",
    "film, close-up of a woman in a red coat",
    "\u4e00\u4e2a\u7a7f\u7ea2\u8272\u5927\u8863\u7684\u5973\u4eba",
    "Quixotic ZEBRA?",
)


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    """A file of an untrained encoder with its tokenizer."""
    torch.manual_seed(0)
    chance = random.Random(0)
    captions = [world.caption(*text.random_scene(chance), language) for _ in range(200) for language in world.LANGUAGES]
    model = text_network.tokenizer_model(captions, [RED], 420)
    network = text_network.umt5(420)
    return network.state_dict() | {text_network.TOKENIZER_KEY: torch.frombuffer(bytearray(model), dtype=torch.uint8)}


@pytest.fixture(scope="module")
def host_clip(tensors: dict[str, Tensor]) -> Any:
    """The host's own text encoder around the same file, by the demo's loader."""
    host_module("comfy.sd")
    from demo import host_nodes  # imports the host

    return host_nodes.umt5_clip(tensors)


def test_a_prompt_is_read_as_the_host_reads_it(tensors: dict[str, Tensor], host_clip: Any) -> None:
    reader = text_network.PromptReader(tensors)
    for prompt, context in zip(PROMPTS, reader.contexts(PROMPTS, tokens=512), strict=True):
        wanted = host_clip.encode_from_tokens(host_clip.tokenize(prompt))[0]  # 512 d
        assert torch.allclose(context, wanted, atol=1e-5)
    short = reader.contexts(PROMPTS)
    assert torch.allclose(short, reader.contexts(PROMPTS, tokens=512)[:, : short.shape[1]], atol=1e-5)
    with pytest.raises(ValueError, match="at most 47 fit"):
        reader.contexts(["zebra " * 50])


def test_a_phrase_of_the_world_is_one_token(tensors: dict[str, Tensor]) -> None:
    tokenizer = text_network.PromptReader(tensors).tokenizer
    assert tokenizer.encode(RED, out_type=str)[-2:] == [RED, "</s>"]
    for prompt in PROMPTS:
        assert tokenizer.decode(tokenizer.encode(prompt)) == prompt


@pytest.mark.parametrize("language", world.LANGUAGES)
@pytest.mark.parametrize("seed", range(6))
def test_a_shortened_caption_says_whatever_it_is_held_to(language: world.Language, seed: int) -> None:
    chance = random.Random(seed)
    people, shots = text.random_scene(chance)
    whole = world.caption(people, shots, language)
    short, left_out = text.shortened(whole, language, chance)
    comma = text.COMMAS[language]
    kept, parts = short.split(comma), whole.split(comma)
    assert len(kept) == len(parts) - len(left_out) and set(kept) <= set(parts)
    for field, gone in (("style", parts[0]), ("expression", parts[-3]), ("light", parts[-2]), ("camera", parts[-1])):
        assert (gone not in kept) == (field in left_out)


def test_labels_are_the_words_and_what_is_not_said_has_none() -> None:
    people = (world.person("train", 1), world.person("train", 2))
    shot = world.shot(5, colour="red")
    pair = text.Saying("", text.said(people, (shot, shot)))
    alone = text.Saying("", text.said(people[:1], (shot,)))
    assert text.labels_of([pair, alone], "colour").tolist() == [0, 0]
    assert text.labels_of([pair, alone], "people").tolist() == [1, 0]
    assert text.labels_of([pair, alone], "partner's colour").tolist() == [0, text.NOTHING]
