"""The table of bad inputs: what goes in, and word for word what the node's message must say was found and wanted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.host import recipes
from tests.host.live import Client, Graph, Slot
from tests.host.recipes import (
    RESAMPLER,
    adapter,
    audio_features,
    decoded,
    decoded_to_video,
    guider,
    identity,
    identity_check,
    lip_sync,
    loaded_character,
    locked,
    model,
    moe_guider,
    moe_model,
    moe_sample,
    moe_sigmas,
    prompt_check,
    saved_character,
)

Spec = dict[str, Any]
Build = Callable[..., list[Any]]

WIDGETS = ("COMBO", "FLOAT", "INT", "STRING")
ANYTHING = "<...>"  # in a message: what a library adds
UNREADABLE = f"which cannot be read ({ANYTHING})"
NOTHING: Spec = {"value": None}
TEXT: Spec = {"value": "text"}
TOO_WIDE = ("twice_as_wide.safetensors", RESAMPLER)
NOISE: Spec = {"latent": [1, 16, 3, 8, 8]}
VIDEO_AND_SOUND: Spec = {"dict": {"samples": {"nested": [{"tensor": [1, 16, 1, 8, 8]}, {"tensor": [1, 8, 4]}]}}}
MASKED_BY_TEXT: Spec = {"dict": {"samples": {"tensor": [1, 16, 3, 8, 8]}, "noise_mask": TEXT}}
FP8_LATENT: Spec = {"dict": {"samples": {"tensor": [1, 16, 3, 8, 8], "dtype": "float8_e5m2"}}}
CHANNELS_48: Spec = {"latent": [1, 48, 3, 8, 8]}


@dataclass(frozen=True, slots=True)
class Row:
    """One bad input: the recipe it spoils, the input, what goes in, and what the message must say."""

    build: Build
    input: str
    bad: Any  # a probe's specification, a recipe, or the value itself
    found: str  # word for word
    wanted: str  # word for word
    beside: Spec | None = None  # other inputs, good ones
    named: str | None = None  # the input in the message, when it is another one

    @property
    def node(self) -> str:
        return NODE_OF[self.build]

    @property
    def message(self) -> re.Pattern[str]:
        """The whole message; only the fix, a sentence or more, is free."""
        text = re.escape(f"{self.node}: {self.named or self.input}: found {self.found}; wanted {self.wanted}. ")
        return re.compile(text.replace(re.escape(ANYTHING), "(?s:.*)") + r"[A-Z][^\n]{9,}\.")

    def spoilt(self, graph: Graph) -> list[Any]:
        """The recipe with the bad input in it."""
        bad = self.bad
        bad = graph.make(**bad) if isinstance(bad, dict) else bad(graph) if callable(bad) else bad
        if self.build is lock and isinstance(bad, tuple):
            return lock(graph, adapter=adapter(graph, ip_layers=bad[0], resampler=bad[1]))
        name = "of_model" if self.build is lock and self.input == "model" else self.input
        return self.build(graph, **(self.beside or {}) | {name: bad})

    def require_message(self, client: Client) -> None:
        """The spoilt recipe fails in its own node, with the whole message."""
        graph = Graph()
        graph.hash(self.spoilt(graph))
        failure = client.fails(graph)
        assert failure.node_type == self.node, failure.message
        assert self.message.fullmatch(failure.message), failure.message
        client.require_work()

    def __str__(self) -> str:
        bad = "another node" if callable(self.bad) else json.dumps(self.bad)[:40]
        return f"{self.node} {self.input} {bad}"


def wrong_values(slot: Slot) -> Iterator[tuple[Any, str]]:
    """What an any-type link may bring that no input of this kind takes, and how the message calls it."""
    is_widget = slot.kind in WIDGETS
    yield "\ud800\n", r"'\ud800\n'" if is_widget else "str"
    yield {"a": 1}, "a dict" if is_widget else "dict"
    if slot.kind in ("INT", "FLOAT"):
        yield float("nan"), "nan"
        yield True, "True"
    if slot.required and not slot.choice:
        yield None, "None" if is_widget else "NoneType"


def with_link(graph: Graph, build: Build, slots: Iterable[Slot], slot: Slot, value: Any) -> list[Any]:
    """The recipe with a value of any kind at an input; if it belongs to a choice, that is made."""
    values = {
        one.name: one.about.get("default", *one.about.get("options", [])[:1])
        for one in slots
        if one.choice == slot.choice
    }
    beside = {name: value for name, value in values.items() if value is not None}
    choice = beside | dict([slot.choice]) if slot.choice else {}
    name = "of_model" if build is lock and slot.name == "model" else slot.name
    return build(graph, **choice | {name: graph.make(value=value)})


def lock(graph: Graph, **changes: Any) -> list[Any]:
    return locked(graph, **{"of_model": model(graph)} | changes)


def guider_of(graph: Graph, name: str) -> list[Any]:
    return guider(graph, model(graph, name))


def woman_of_60(graph: Graph) -> list[Any]:
    """The portrait's identity as if a network had guessed her sex and age."""
    return graph.edit(
        graph.edit(identity(graph), "attributes/0/sex", value="female"), "attributes/0/age_years", value=60
    )


def foreign_model(graph: Graph) -> list[Any]:
    return graph.add("WanCastProbeRelative", model=model(graph), network="TwoBranchWan", shapes="{}")[0]


speech_model = partial(model, name=recipes.SPEECH_MODEL)
speech_guider, image_guider = (partial(guider_of, name=name) for name in (recipes.SPEECH_MODEL, recipes.IMAGE_HIGH))


NODE_OF: dict[Build, str] = {
    identity: "IdentityEncode",
    adapter: "WanCastAdapterLoader",
    lock: "IDLock",
    audio_features: "AudioFeatures",
    moe_sample: "MoESampler",
    moe_guider: "WanCastMoEGuider",
    moe_model: "WanCastMoEModel",
    moe_sigmas: "WanCastMoESigmas",
    decoded: "HighCompressionVAEDecode",
    decoded_to_video: "WanCastDecodeToVideo",
    lip_sync: "LipSyncCheck",
    prompt_check: "WanCastPromptCheck",
    identity_check: "WanCastIdentityCheck",
    saved_character: "WanCastCharacterSave",
    loaded_character: "WanCastCharacterLoad",
}

BUILDS = tuple(NODE_OF)

WAN_VAE = "a Wan2.1 VAE (16 latent channels) or a Wan2.2 VAE (48 latent channels)"
ONE_GUIDER = "the guider of one model"
FACES = "one of auto, insightface pack, mediapipe, landmarks, whole picture, aligned crop"
FINDERS = "one of auto, insightface pack, mediapipe, aligned crop"
UNITS, UNITS_OF_SIGMAS = "one of auto, snr_db, sigma, timestep, step", "one of auto, snr_db, sigma, timestep"
PART = "at least one step before end_at_step"
TEXT_EXPERT = "a WanModel of 4 blocks of width 96, 16 input channels and text of width 64"
IMAGE_EXPERT = "a WanModel of 4 blocks of width 96, 36 input channels and text of width 64"
SPEECH_EXPERT = "a WanModel_S2V of 4 blocks of width 96, 16 input channels and text of width 64"
TOKENS = "[batch, tokens, 64] for this model"
ONE_CLIP = "one clip, because a video file holds one"
AUTO_OF_SPEECH = "'auto' with a WanModel_S2V of 16 input channels"
MOE_EXPERT = "an expert of Wan2.2-A14B: T2V, I2V, Fun-InP, Fun-Control, Fun-Control-Camera or VACE-Fun"
LIKE_START = f"what guider_start is: {IMAGE_EXPERT}"
LIKE_HIGH = f"what model_high is: {TEXT_EXPERT}"
TWO_PARTS = "a nested latent of 2 parts, as of a video with its sound"
ONE_VIDEO = "the latent of one video, because Wan makes no sound"
FINITE_START = "a start above 0, because there is no noise to take off"
FINITE_END = "an end below 1, because a latent of pure noise would be infinite"
MASK_SHAPE = "finite [height, width], with frames and batch in front of it if they differ"
VIDEO_LATENT = "[batch, 16, frames, height, width] for this model"

TYPES = [  # what the nodes find themselves; a value of another kind is found for all of them by their schemas
    *(
        Row(build, name, bad, "a model that WanCast MoE Model made of two", "one expert")
        for build, name, bad in (
            (moe_sample, "model_low", moe_model),
            (moe_model, "model_high", moe_model),
            (moe_guider, "guider_high", lambda graph: guider(graph, moe_model(graph))),
        )
    ),
    Row(moe_guider, "guider_low", moe_guider, "a WanCast MoE Guider", ONE_GUIDER),
    *(
        Row(build, name, bad, found, wanted)
        for build in (decoded, decoded_to_video)
        for name, bad, found, wanted in (
            ("samples", {"dict": {"noise": {"value": 1}}}, "dict", "a LATENT"),
            ("vae", {"vae": ["decoder.conv_in.weight"]}, "a VAE that is not Wan's", WAN_VAE),
            ("tiling", {"value": "half"}, "str", "one of auto, whole frame, tiles"),
        )
    ),
]

SIZES = [
    Row(identity, "face", "by magic", "None", FACES),
    Row(identity_check, "face", "landmarks", "None", FINDERS),
    Row(identity_check, "mode", "by magic", "None", "one of plain, opens2v, vistory"),
    Row(
        identity_check,
        "scorer",
        {"value": "none (for Stand-In)"},
        "'none (for Stand-In)' with face 'aligned crop'",
        "a face recogniser",
    ),
    Row(
        identity_check,
        "characters.character_1",
        partial(identity, face="whole picture"),
        "an identity without an aligned face, made of a whole picture or without a recogniser",
        "one with faces that a recogniser can compare",
    ),
    *(
        Row(identity_check, "clips.clip_1", {"tensor": shape, "fill": "unit"}, found, wanted)
        for shape, found, wanted in (
            ([112, 112, 3], "a tensor of shape (112, 112, 3)", "images as frames, height, width, channels, or a VIDEO"),
            ([1, 112, 64, 3], "64 x 112 px", "a square crop that is aligned to the ArcFace template"),
        )
    ),
    Row(lock, "blocks", "0-99", "'0-99'", "blocks from 0 to 3, as this model has"),
    Row(lock, "adapter", TOO_WIDE, "an adapter for a model of width 192", "one for this model's width 96"),
    Row(moe_sample, "latent_image", CHANNELS_48, "a latent of shape [1, 48, 3, 8, 8]", VIDEO_LATENT),
    Row(moe_sample, "latent_image", {"latent": [1, 16, 8]}, "a latent of shape [1, 16, 8]", VIDEO_LATENT),
    Row(moe_sample, "positive", {"conditioning": [1, 7, 11]}, "text of shape [1, 7, 11]", TOKENS),
    Row(moe_sample, "switch", "half way", "None", UNITS),
    Row(moe_guider, "switch", "half way", "None", UNITS),
    Row(moe_model, "switch", "half way", "None", UNITS),
    Row(moe_sigmas, "switch", "half way", "None", UNITS_OF_SIGMAS),
    Row(moe_sigmas, "switch", "step", "None", UNITS_OF_SIGMAS),
    Row(moe_sample, "start_at_step", 4, "4 of 3 steps", PART, {"end_at_step": 3}),
    Row(moe_sample, "model_low", partial(model, name=recipes.IMAGE_LOW), IMAGE_EXPERT, LIKE_HIGH),
    Row(moe_model, "model_low", speech_model, SPEECH_EXPERT, LIKE_HIGH),
    Row(
        moe_model,
        "model_low",
        foreign_model,
        TEXT_EXPERT.replace("WanModel", f"TwoBranchWan from '{ANYTHING}'"),
        LIKE_HIGH,
    ),
    Row(moe_guider, "guider_low", speech_guider, SPEECH_EXPERT, f"what guider_high is: {TEXT_EXPERT}"),
    Row(moe_guider, "guider_start", image_guider, TEXT_EXPERT, LIKE_START, named="guider_high"),
    Row(moe_sigmas, "model", speech_model, AUTO_OF_SPEECH, MOE_EXPERT, named="switch"),
    Row(moe_sample, "denoise", 0.0, "0.0", "more than 0"),
    Row(
        moe_sample,
        "latent_image",
        FP8_LATENT,
        "dict with a tensor of torch.float8_e5m2, torch.strided, on cpu",
        "a LATENT",
    ),
    Row(moe_sample, "latent_image", VIDEO_AND_SOUND, TWO_PARTS, ONE_VIDEO),
    Row(moe_sample, "latent_image", MASKED_BY_TEXT, "a noise mask of str", MASK_SHAPE),
    Row(moe_sample, "sigmas", {"sigmas": [0.9, 0.0, 0.0]}, "step 2 of 2 that starts at sigma 0", FINITE_START),
    Row(moe_sample, "sigmas", {"sigmas": [0.1, 0.5, 1.0]}, "a run that ends at sigma 1", FINITE_END),
    *(
        Row(build, "samples", CHANNELS_48, "a latent with 48 channels", "16 channels, because the VAE is a Wan2.1 VAE")
        for build in (decoded, decoded_to_video)
    ),
    Row(decoded_to_video, "samples", {"latent": [2, 16, 3, 8, 8]}, "a batch of 2 clips", ONE_CLIP),
    Row(decoded_to_video, "fps", {"value": 0.0}, "0.0", "a number from 0.001 to 240"),
    Row(decoded_to_video, "last_frames", {"value": 0}, "0", "a whole number from 1 to 1024"),
    *(
        Row(
            decoded_to_video,
            "filename_prefix",
            prefix,
            repr(prefix),
            "a name, with subfolders or none, that every system takes",
            {"save_output": folder == "output"},
        )
        for prefix in ("../shot", "video/../../shot", "/shot", "..")
        for folder in ("output", "temp")
    ),
    *(Row(decoded_to_video, "filename_prefix", prefix, repr(prefix), "a name") for prefix in ("", ".")),
    *(
        Row(saved_character, name, bad, found, wanted)
        for name, bad, found, wanted in (
            ("name", "", "nothing that can be seen", "from 1 to 64 letters"),
            ("name", "n" * 65, "65 letters", "from 1 to 64 letters"),
            ("name", "a\u202eb", "the letter U+202E", "text that can be printed"),
            ("notes", "n" * 4001, "4001 letters", "at most 4000 letters"),
            ("tags", ",".join(map(str, range(33))), "33 tags", "at most 32"),
            ("tags", "a\0", "the letter U+0000", "text that can be printed"),
            ("consent_by", "Ann\nBob", "the letter U+000A", "text that can be printed"),
            ("consent_until", "31.12.2027", "'31.12.2027'", "a day as YYYY-MM-DD, or nothing"),
            ("consent_until", "2027-02-29", "'2027-02-29'", "a day as YYYY-MM-DD, or nothing"),
            ("transcript", "Hello.", "words without a voice", "both"),
            ("voice", {"audio": [1, 3, 9], "rate": 48000}, "3 channels", "1 to 2"),
            ("voice", {"audio": [2, 1, 9], "rate": 48000}, "a batch of 2 recordings", "one recording"),
            ("voice", {"audio": [1, 1, 480_061], "rate": 8000}, "60.0 s", "a sample of at most 60 s"),
            ("voice", {"audio": [1, 1, 9], "rate": 4000}, "a rate of 4000 Hz", "8000 to 192000 Hz"),
        )
    ),
    *(
        Row(loaded_character, "character", bad, found, "a character of the library")
        for bad, found in (
            ("", "''"),
            ("../../secret", "'../../secret'"),
            ("0" * 31, repr("0" * 31)),
            (f"{'0' * 32}@", repr(f"{'0' * 32}@")),
            ("A" * 32, repr("A" * 32)),
        )
    ),
    Row(loaded_character, "character", "0" * 32, "a character that is not in the library", "one of the library"),
    Row(decoded_to_video, "filename_prefix", "\u5b57" * 67, repr("\u5b57" * 67), "names of at most 200 bytes"),
]

NUMBERS = [
    Row(moe_sample, "latent_image", {**NOISE, "fill": fill}, "NaN or infinite values", "finite values")
    for fill in ("nan", "inf")
]

PROMPTS = [
    Row(prompt_check, "prompt", "a" * 10_001, "10001 characters", "at most 10000"),
    Row(
        prompt_check,
        "identity",
        woman_of_60,
        "'young' (3-7) 'woman' (9-13), 'He' (16-17)",
        "words that fit the identity: female, about 60 years (old)",
        {"prompt": "A young woman. He waits.", "mode": "refuse"},
        named="prompt",
    ),
]

FILES = [
    *(
        Row(build, name, file, found, wanted)
        for build, name, folder in (
            (identity, "encoder", "face_recognition"),
            (adapter, "ip_layers", "wan_id_adapters"),
            (adapter, "resampler", "wan_id_adapters"),
            (lip_sync, "weights", "syncnet"),
            (identity_check, "scorer", "face_recognition"),
        )
        for file, found, wanted in (
            ("cut_off.safetensors", f"'cut_off.safetensors', {UNREADABLE}", "a complete weight file"),
            ("harmful.pt", f"'harmful.pt', {UNREADABLE}", "a complete weight file"),
            ("gone.safetensors", "'gone.safetensors'", f"a weight file in models/{folder}"),
        )
    ),
    *(
        Row(
            build,
            name,
            f"{name}_with_nan.safetensors",
            f"'{name}_with_nan.safetensors', whose '{key}' holds NaN or an infinity",
            "a file of finite weights and nothing else",
        )
        for build, name, key in (
            (identity, "encoder", "output_layer.3.weight"),
            (adapter, "ip_layers", "0.to_k_ip.weight"),
            (adapter, "resampler", "proj_in.weight"),
            (lip_sync, "weights", "netcnnlip.18.weight"),
        )
    ),
    Row(
        identity_check,
        "scorer",
        "encoder_with_nan.safetensors",
        "'encoder_with_nan.safetensors', whose 'output_layer.3.weight' holds NaN or an infinity",
        "a file of finite weights and nothing else",
        {"mode": "opens2v", "mode.curricular": recipes.ENCODER},
    ),
    Row(adapter, "resampler", recipes.IP_LAYERS, "IP layers of Lynx", "a resampler of Lynx"),
    Row(lip_sync, "weights", {"value": "unlisted.pth"}, "'unlisted.pth'", "a weight file in models/syncnet"),
]

ROWS = [*TYPES, *SIZES, *NUMBERS, *PROMPTS, *FILES]
