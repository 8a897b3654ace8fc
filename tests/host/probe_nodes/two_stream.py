"""An identity in a Wan model written out from the published formulas, slow and plain, to compare IDLock with.

Stand-In: arXiv 2508.07901 and WeChatCV/Stand-In. Lynx: arXiv 2509.15496 and bytedance/lynx. Nothing here imports our
own adapters; the weight files are read by their keys, official or Kijai's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

import comfy.utils
import folder_paths
import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear, pad

TOKEN_PX = 16
PICTURE_TOKENS = 32  # rows, and columns, of a portrait

StateDict = dict[str, Tensor]
Weights = dict[int, StateDict]  # by block of the model, then by the last part of the key

# Weight files


def read(name: str) -> StateDict:
    path = folder_paths.get_full_path_or_raise("wan_id_adapters", name)
    return {key: tensor.float() for key, tensor in comfy.utils.load_torch_file(path, safe_load=True).items()}


def by_block(name: str) -> Weights:
    """The tensors of a file by block: Kijai's keys and Stand-In's name it, the official ones of Lynx an ordinal."""
    tensors, found = read(name), {}
    is_lite = "0.to_k_ip.weight" in tensors and "0.registers" not in tensors
    for key, tensor in tensors.items():
        named = re.search(r"blocks\.(\d+)\.\w+_attn\.(?:\w+_adapter\.)?(.+)", key)
        ordinal = re.fullmatch(r"(\d+)\.(.+)", key)
        if named:
            found.setdefault(int(named[1]), {})[named[2]] = tensor
        elif ordinal:
            found.setdefault(int(ordinal[1]) * (2 if is_lite else 1), {})[ordinal[2]] = tensor
    return found


# Kernels


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """softmax(q k / sqrt(d)) v of one row, n d, in single precision at least."""
    dtype = torch.promote_types(q.dtype, torch.float32)
    q_heads, k_heads, v_heads = (x.to(dtype).unflatten(-1, (heads, -1)).transpose(0, 1) for x in (q, k, v))  # heads n d
    scores = q_heads @ k_heads.transpose(1, 2) / math.sqrt(q_heads.shape[-1])
    scores = (scores - scores.amax(dim=-1, keepdim=True)).exp()
    out = scores / scores.sum(dim=-1, keepdim=True) @ v_heads  # heads n d
    return out.transpose(0, 1).flatten(1).to(q.dtype)


def rotated(x: Tensor, ids: Tensor, heads: int) -> Tensor:
    """x (n d) turned by its places (n 3: time, row, column), as Wan does it."""
    head_d = x.shape[-1] // heads
    spatial = 2 * (head_d // 6)
    angles = []
    for axis, size in enumerate((head_d - 2 * spatial, spatial, spatial)):
        speeds = 10000.0 ** (-torch.arange(0, size, 2, dtype=torch.float64, device=x.device) / size)
        angles.append(ids[:, axis, None].to(speeds) * speeds)
    angles = torch.cat(angles, dim=1)
    turn = torch.polar(torch.ones_like(angles), angles)  # n head_d/2
    pairs = torch.view_as_complex(x.double().reshape(len(x), heads, head_d // 2, 2))
    return torch.view_as_real(pairs * turn[:, None]).reshape(x.shape).to(x.dtype)


def places(starts: tuple[int, int, int], sizes: tuple[int, int, int]) -> Tensor:
    """The integer places of a grid of tokens, n 3."""
    t, y, x = (torch.arange(start, start + size) for start, size in zip(starts, sizes, strict=True))
    return torch.cartesian_prod(t, y, x)


def modulated(x: Tensor, eps: float, shift: Tensor, scale: Tensor) -> Tensor:
    """The plain norm of x, scaled and shifted by the time."""
    return layer_norm(x, x.shape[-1:], eps=eps) * (1 + scale) + shift


# Lynx's resampler


def resampled(file: StateDict, embeddings: Tensor) -> Tensor:
    """Tokens n d of embeddings m 512: bytedance/lynx modules/common/resampler.py, which has heads of 64."""

    def dense(x: Tensor, name: str) -> Tensor:
        return linear(x, file[f"{name}.weight"], file.get(f"{name}.bias"))

    def norm(x: Tensor, name: str) -> Tensor:
        return layer_norm(x, x.shape[-1:], file[f"{name}.weight"], file[f"{name}.bias"])

    latents, x = file["latents"][0], dense(embeddings, "proj_in")
    for n in range(len({key.split(".")[1] for key in file if key.startswith("layers.")})):
        name = f"layers.{n}"
        queries = norm(latents, f"{name}.0.norm2")
        q = dense(queries, f"{name}.0.to_q")
        k, v = dense(torch.cat((norm(x, f"{name}.0.norm1"), queries)), f"{name}.0.to_kv").chunk(2, dim=-1)
        latents = latents + dense(attend(q, k, v, q.shape[-1] // 64), f"{name}.0.to_out")
        latents = latents + dense(gelu(dense(norm(latents, f"{name}.1.0"), f"{name}.1.1")), f"{name}.1.3")
    return norm(dense(latents, "proj_out"), "norm_out")


# One identity


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """One identity as the oracle holds it; the names are those of IDLock's inputs."""

    ip: Weights
    tokens: tuple[Tensor, ...]  # of the identity and of the null identity
    ref: Weights
    ref_latents: tuple[Tensor, ...]  # c 1 h w, of the identity and of a grey picture
    ref_text: Tensor | None  # n d
    stand_in: Weights
    portrait: Tensor | None  # c 1 h w
    strength: float
    ref_strength: float
    blocks: list[int]
    first_sigma: float
    last_sigma: float
    apply_to: str
    mask: Tensor | None  # f h w in pixels of the video
    frame_weights: str

    def acts_at(self, sigma: float) -> bool:
        return self.last_sigma + 1e-6 < sigma <= self.first_sigma + 1e-6

    def source(self, is_negative: bool) -> int | None:
        """Whose tokens a row reads: the identity's (0), the null identity's (1), or none."""
        if not is_negative or self.apply_to == "both":
            return 0
        return 1 if self.apply_to == "auto" else None

    def has_portrait(self, block: int, is_negative: bool) -> bool:
        return block in self.stand_in and block in self.blocks and not (is_negative and self.apply_to == "positive")


def moved(value: Any, device: torch.device) -> Any:
    """A person, or a part of one, with its tensors on the device of the run."""
    match value:
        case Tensor():
            return value.to(device)
        case dict():
            return {key: moved(item, device) for key, item in value.items()}
        case tuple():
            return tuple(moved(item, device) for item in value)
        case Person():
            return replace(value, **{part.name: moved(getattr(value, part.name), device) for part in fields(value)})
    return value


def frame_weight(text: str, frame: int) -> float:
    """The weight at a pixel frame of "0:1, 40:0.5"."""
    points = [tuple(map(float, part.split(":"))) for part in text.split(",")]
    if frame <= points[0][0]:
        return points[0][1]
    for (first, low), (last, high) in zip(points, points[1:]):  # noqa: B905
        if frame <= last:
            return low + (high - low) * (frame - first) / (last - first)
    return points[-1][1]


def token_mask(mask: Tensor, t: int, y: int, x: int) -> float:
    """The largest value of a mask inside a token: 16 x 16 px of the frames that latent frame t shows."""
    frames = [0] if len(mask) == 1 else [frame for frame in range(4 * t - 3, 4 * t + 1) if frame >= 0]
    rows, columns = slice(TOKEN_PX * y, TOKEN_PX * y + TOKEN_PX), slice(TOKEN_PX * x, TOKEN_PX * x + TOKEN_PX)
    return max(float(mask[frame, rows, columns].max()) for frame in frames)


def token_weights(persons: list[Person], grid: tuple[int, int, int], shown: list[int]) -> list[Tensor | None]:
    """Each person's weight of every token, where the pass sees the latent frames ``shown``."""
    found = []
    for person in persons:
        if person.mask is None and not person.frame_weights:
            found.append(None)
            continue
        weights = []
        for t, y, x in places((0, 0, 0), grid).tolist():
            weight, frame = 1.0, shown[t]
            if person.mask is not None:
                masks = [token_mask(other.mask, frame, y, x) for other in persons if other.mask is not None]
                weight = token_mask(person.mask, frame, y, x) / max(1.0, sum(masks))
            if person.frame_weights:
                frames = range(0, 1) if frame == 0 else range(4 * frame - 3, 4 * frame + 1)
                weight *= sum(frame_weight(person.frame_weights, seen) for seen in frames) / len(frames)
            weights.append(weight)
        found.append(torch.tensor(weights))
    return found


# Pictures through the model


def modulation(wan: Any, x: Tensor) -> Tensor:
    """The six rows for the blocks, 6 d, of the embedded time 0, whose cosines are 1 and whose sines are 0."""
    half = wan.freq_dim // 2
    waves = torch.cat((x.new_ones(1, half), x.new_zeros(1, half)), dim=1)
    return wan.time_projection(wan.time_embedding(waves)).reshape(6, -1)


def patches(wan: Any, latent: Tensor) -> tuple[Tensor, tuple[int, int, int]]:
    """Tokens n d of c t h w, and their grid; an odd side is filled up from the other end."""
    missing = wan.in_dim - latent.shape[0]
    latent = torch.cat((latent, latent.new_zeros(missing, *latent.shape[1:])))
    latent = pad(latent[None], (0, latent.shape[-1] % 2, 0, latent.shape[-2] % 2, 0, 0), mode="circular")
    x = wan.patch_embedding(latent.to(wan.patch_embedding.weight.dtype))
    return x[0].flatten(1).T, tuple(x.shape[2:])


def features(wan: Any, latent: Tensor, text: Tensor, dtype: torch.dtype) -> Iterator[Tensor]:
    """What each block's self-attention reads when the model sees one picture at time 0 with a text, n d."""
    x, grid = patches(wan, latent)
    x, ids, context = x.to(dtype), places((0, 0, 0), grid), wan.text_embedding(text.to(dtype))
    e = modulation(wan, x)
    for block in wan.blocks:
        shift, scale, gate, feed_shift, feed_scale, feed_gate = block.modulation.to(x)[0] + e
        h = modulated(x, block.eps, shift, scale)
        yield h
        own, cross = block.self_attn, block.cross_attn
        q, k = (
            rotated(norm(layer(h)), ids, wan.num_heads) for norm, layer in ((own.norm_q, own.q), (own.norm_k, own.k))
        )
        x = x + own.o(attend(q, k, own.v(h), wan.num_heads)) * gate
        q, k = cross.norm_q(cross.q(block.norm3(x))), cross.norm_k(cross.k(context))
        x = x + cross.o(attend(q, k, cross.v(context), wan.num_heads))
        x = x + block.ffn(modulated(x, block.eps, feed_shift, feed_scale)) * feed_gate


def portrait_keys_values(
    wan: Any, person: Person, start: tuple[int, int, int], dtype: torch.dtype
) -> Iterator[tuple[Tensor, Tensor]]:
    """Keys and values of the portrait in each block; it sees itself alone, and no text."""
    x, grid = patches(wan, person.portrait)
    x, ids = x.to(dtype), places(start, grid)
    e = modulation(wan, x)
    for index, block in enumerate(wan.blocks):
        shift, scale, gate, feed_shift, feed_scale, feed_gate = block.modulation.to(x)[0] + e
        h = modulated(x, block.eps, shift, scale)
        own, lora = block.self_attn, person.stand_in.get(index)

        def added(layer: str, h: Tensor = h, lora: StateDict | None = lora) -> Tensor | float:
            if lora is None:
                return 0.0
            down, up = (lora[f"{layer}_loras.{half}.weight"].to(h.dtype) for half in ("down", "up"))
            return h @ down.T @ up.T

        q = rotated(own.norm_q(own.q(h) + added("q")), ids, wan.num_heads)
        k = rotated(own.norm_k(own.k(h) + added("k")), ids, wan.num_heads)
        v = own.v(h) + added("v")
        yield k, v
        x = x + own.o(attend(q, k, v, wan.num_heads)) * gate
        x = x + block.ffn(modulated(x, block.eps, feed_shift, feed_scale)) * feed_gate


# What the identities are in one pass


@dataclass(slots=True, eq=False)
class Pass:
    """All that one forward pass needs to know of the persons that act in it."""

    wan: Any
    persons: list[Person]
    is_negative: list[bool]  # by row
    weights: list[Tensor | None]  # of the video's tokens, by person
    tokens: int  # of the video; a model may have others behind them, and before them
    before: int = 0
    text: dict[tuple[int, int, int], tuple[Tensor, Tensor]] = field(default_factory=dict)  # (person, block, source)
    ref: dict[tuple[int, int, int], tuple[Tensor, Tensor]] = field(default_factory=dict)
    joint: dict[tuple[int, int], tuple[Tensor, Tensor]] = field(default_factory=dict)  # (person, block)

    def fill(self, grid: tuple[int, int, int], dtype: torch.dtype) -> Pass:
        wan, place = self.wan, 0
        for n, person in enumerate(self.persons):
            for block, own in person.ip.items():
                own = {key: tensor.to(dtype) for key, tensor in own.items()}
                for source, tokens in enumerate(person.tokens):
                    seen = torch.cat((tokens.to(dtype), *own.get("registers", ())))
                    k = linear(seen, own["to_k_ip.weight"], own.get("to_k_ip.bias"))
                    v = linear(seen, own["to_v_ip.weight"], own.get("to_v_ip.bias"))
                    k = (
                        wan.blocks[block].cross_attn.norm_k(k)
                        if "registers" in own
                        else k / (k.pow(2).mean(dim=-1, keepdim=True) + 1e-5).sqrt()
                    )
                    self.text[n, block, source] = k, v
            for source, latent in enumerate(person.ref_latents):
                for block, f in enumerate(features(wan, latent, person.ref_text, dtype)):
                    if own := {key: tensor.to(dtype) for key, tensor in person.ref.get(block, {}).items()}:
                        k = linear(f, own["to_k_ref.weight"], own["to_k_ref.bias"])
                        v = linear(f, own["to_v_ref.weight"], own["to_v_ref.bias"])
                        self.ref[n, block, source] = wan.blocks[block].self_attn.norm_k(k), v
            if person.stand_in:
                start = (-1, grid[1] + PICTURE_TOKENS * place, grid[2] + PICTURE_TOKENS * place)
                for block, pair in enumerate(portrait_keys_values(wan, person, start, dtype)):
                    self.joint[n, block] = pair
                place += person.mask is None
        return self

    def beside(self, terms: dict[Any, Any], name: str, block: int, row: int, q: Tensor) -> Tensor | float:
        """The sum of strength * weight * Attn(q, K, V) of one row, n d."""
        total: Tensor | float = 0.0
        for n, person in enumerate(self.persons):
            source = person.source(self.is_negative[row])
            if source is None or block not in person.blocks or (n, block, source) not in terms:
                continue
            term = getattr(person, name) * attend(q, *terms[n, block, source], self.wan.num_heads)
            term[: self.before] = term[self.before + self.tokens :] = 0.0
            total = total + term * self.weight(n, term)
        return total

    def inside(self, block: int, row: int, k: Tensor, v: Tensor, run: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Self-attention of one row with the portraits in it; ``run`` attends to keys and values, n d."""
        seen = [n for n, person in enumerate(self.persons) if person.has_portrait(block, self.is_negative[row])]
        plain = [n for n in seen if self.persons[n].strength == 1 and self.weights[n] is None]
        for n in plain:
            k, v = torch.cat((k, self.joint[n, block][0])), torch.cat((v, self.joint[n, block][1]))
        y = out = run(k, v)
        for n in seen:
            if n in plain:
                continue
            with_it = run(torch.cat((k, self.joint[n, block][0])), torch.cat((v, self.joint[n, block][1])))
            out = out + self.persons[n].strength * self.weight(n, y) * (with_it - y)
        return out

    def weight(self, n: int, like: Tensor) -> Tensor | float:
        """A person's weight of each token, n 1; one that has weights has none where the video is not."""
        if self.weights[n] is None:
            return 1.0
        behind = len(like) - self.before - self.tokens
        return pad(self.weights[n], (self.before, behind))[:, None].to(like)


def pass_of(wan: Any, persons: list[Person], x: Tensor, options: dict[str, Any]) -> Pass | None:
    """What acts in a pass over x, b c t h w; None where none does."""
    sigma = float(options["sigmas"].max())
    persons = [moved(person, x.device) for person in persons if person.acts_at(sigma)]
    if not persons:
        return None
    sides = options["cond_or_uncond"]
    is_negative = [side == 1 for side in sides for _ in range(len(x) // len(sides))]
    grid = (x.shape[2], -(-x.shape[3] // 2), -(-x.shape[4] // 2))
    shown, window = list(range(x.shape[2])), options.get("context_window")
    if window is not None:
        shown = list(window.index_list)
        if len(shown) < x.shape[2]:  # the frame before the window comes first, so that it is not the video's first
            shown.insert(0, shown[0] - 1)
    weights = token_weights(persons, grid, shown)
    return Pass(wan, persons, is_negative, weights, math.prod(grid)).fill(grid, x.dtype)
