"""Trains the text encoder: each word of a caption is to be told from its tokens, the same way in both languages.

A probe a field of the shot reads the tokens by attention and names the word; English and Chinese share the probes, and
what a probe reads of one caption in two languages is drawn together. Afterwards the encoder is frozen.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from sentencepiece import SentencePieceProcessor
from torch import Tensor, nn
from torch.nn import functional

from demo import world
from demo.world.captions import chinese
from demo.world.shot import WORDS
from devtools.kept_fit import write_tensors
from wan_core.training import FitPlan

from .expert_network import TEXT_WIDTH
from .job import Job
from .runs import run
from .text_network import END, FILE, TOKENIZER_KEY, UNKNOWN, encoded, padded, tokenizer_model, umt5

VOCABULARY = 640  # 3 marks, 256 bytes, the Chinese phrases, characters and pieces of English words
CAPTIONS = 2000  # that the tokenizer is made of
BATCH = 48  # captions, each in both languages
PAIR_SHARE = 0.25  # of the captions, about two people
SHORT_SHARE = 0.5  # of the captions, that leave something out
DROPPED_TOKENS = 0.05  # of all tokens: prompts have words that the world does not know
SAMENESS = 0.5  # weight of the distance between the languages
NOTHING = -100  # the label of what is not said
PLAN = FitPlan(steps=1500, learning_rate=3e-3, warm_up_steps=100, ema_decay=0.995)

People = Sequence[world.Person]
Shots = Sequence[world.Shot]  # one a person

PARTNER = "partner's "  # begins the fields of the second person
PERSON_FIELDS: Mapping[str, tuple[str, ...]] = {
    "sex": ("woman", "man"),
    "garment": world.GARMENTS,
    "colour": world.COLOURS,
}
FIELDS: Mapping[str, tuple[str, ...]] = (
    dict(WORDS)
    | {"sex": PERSON_FIELDS["sex"], "people": ("one", "two")}
    | {PARTNER + field: words for field, words in PERSON_FIELDS.items()}
)
COMMAS: Mapping[world.Language, str] = {"en": ", ", "zh": chinese()[","]}
OPTIONAL = {0: "style", -3: "expression", -2: "light", -1: "camera"}  # parts that a caption can do without


@dataclass(frozen=True, slots=True)
class Saying:
    """A caption in one language, and the word of each field that it says."""

    text: str
    words: Mapping[str, str]


# Captions


def said(people: People, shots: Shots) -> dict[str, str]:
    """The word of each field of a whole caption."""
    words = {field: getattr(shots[0], field) for field in WORDS}
    words |= {"sex": people[0].sex, "people": FIELDS["people"][len(people) - 1]}
    for person, worn in zip(people[1:], shots[1:], strict=True):
        words |= {PARTNER + "sex": person.sex, PARTNER + "garment": worn.garment, PARTNER + "colour": worn.colour}
    return words


def shortened(whole: str, language: world.Language, chance: random.Random) -> tuple[str, set[str]]:
    """A caption in another order and without some of what it can do without, and the fields that it left out."""
    parts = whole.split(COMMAS[language])
    left_out = {place: field for place, field in OPTIONAL.items() if chance.random() < 0.5}
    gone = {place % len(parts) for place in left_out}
    kept = [part for place, part in enumerate(parts) if place not in gone]
    chance.shuffle(kept)
    return COMMAS[language].join(kept), set(left_out.values())


def saying(people: People, shots: Shots, language: world.Language, chance: random.Random) -> Saying:
    """A caption as somebody could write it."""
    text, words = world.caption(people, shots, language), said(people, shots)
    if chance.random() < SHORT_SHARE:
        text, left_out = shortened(text, language, chance)
        words = {field: word for field, word in words.items() if field not in left_out}
    return Saying(text[0].upper() + text[1:] if chance.random() < 0.3 else text, words)


def random_scene(chance: random.Random) -> tuple[People, Shots]:
    """One person in a shot, or two."""
    count = 2 if chance.random() < PAIR_SHARE else 1
    people = tuple(world.person("train", chance.randrange(2**31)) for _ in range(count))
    shot = world.shot(chance.randrange(2**31))
    worn = {"garment": chance.choice(world.GARMENTS), "colour": chance.choice(world.COLOURS)}
    return people, (shot, replace(shot, **worn))[:count]


# Training


class Probes(nn.Module):
    """Reads each field from the tokens of a caption: attention with one query a field, then its words."""

    def __init__(self) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(len(FIELDS), TEXT_WIDTH) * TEXT_WIDTH**-0.5)
        self.words = nn.ModuleList(nn.Linear(TEXT_WIDTH, len(words)) for words in FIELDS.values())

    def forward(self, tokens: Tensor) -> tuple[Tensor, list[Tensor]]:
        """What is read, b fields d, and the scores of the words of each field; of tokens b n d, zeros after the end."""
        scores = torch.einsum("bnd,fd->bfn", tokens, self.queries)
        is_padding = ~tokens.any(dim=-1)[:, None]
        read = scores.masked_fill(is_padding, -torch.inf).softmax(dim=-1) @ tokens  # b f d
        return read, [layer(read[:, field]) for field, layer in enumerate(self.words)]


class TextTraining(nn.Module):
    """The encoder and the probes that teach it."""

    def __init__(self, tokenizer: SentencePieceProcessor) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.encoder = umt5(tokenizer.vocab_size())
        self.probes = Probes()

    def loss(self, sayings: Mapping[world.Language, Sequence[Saying]], chance: torch.Generator) -> dict[str, Tensor]:
        """How badly the words are told, and how far the languages are apart."""
        everything = [saying for language in world.LANGUAGES for saying in sayings[language]]
        ids = padded([self.tokenizer.encode(saying.text) for saying in everything])
        is_unknown = (torch.rand(ids.shape, generator=chance) < DROPPED_TOKENS) & (ids > END)
        strange = torch.randint(UNKNOWN, self.tokenizer.vocab_size(), ids.shape, generator=chance)
        read, scores = self.probes(encoded(self.encoder, torch.where(is_unknown, strange, ids)))
        told = [
            functional.cross_entropy(of_field, labels_of(everything, field), ignore_index=NOTHING)
            for of_field, field in zip(scores, FIELDS, strict=True)
        ]
        english, chinese_ = read.chunk(2)
        return {"words": torch.stack(told).mean(), "languages": SAMENESS * (english - chinese_).square().mean()}


def labels_of(sayings: Sequence[Saying], field: str) -> Tensor:
    """The number of the word of a field in each caption."""
    words = FIELDS[field]
    return torch.tensor([words.index(saying.words[field]) if field in saying.words else NOTHING for saying in sayings])


def train(job: Job) -> None:
    """Trains the encoder, on the CPU, and writes it with its tokenizer."""
    torch.manual_seed(job.seed)
    chance = random.Random(job.seed)
    captions = [world.caption(*random_scene(chance), language) for _ in range(CAPTIONS) for language in world.LANGUAGES]
    phrases = sorted(set(chinese().values()) - {COMMAS["zh"]})
    model = tokenizer_model(captions, phrases, VOCABULARY)
    training = TextTraining(SentencePieceProcessor(model_proto=model, add_eos=True))

    def loss_of(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        drawn = random.Random(int(torch.randint(2**31, (), generator=generator)))
        scenes = [random_scene(drawn) for _ in range(BATCH)]
        sayings = {language: [saying(*scene, language, drawn) for scene in scenes] for language in world.LANGUAGES}
        return training.loss(sayings, generator)

    run(job, training, loss_of, PLAN)
    weights = {key: value.half() for key, value in training.encoder.state_dict().items()}
    tokenizer = {TOKENIZER_KEY: torch.frombuffer(bytearray(model), dtype=torch.uint8)}
    write_tensors(job.out / FILE, weights | tokenizer)
