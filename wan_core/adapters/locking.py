"""The front door: one identity for one Wan model, by those parts of an adapter that act."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import quoted
from ..notes import Note
from .adapter import Adapter, AdapterNetwork
from .fit import (
    LockableIdentity,
    ReadPictures,
    TargetParams,
    checked_portrait,
    checked_reader,
    checked_reference,
    checked_text,
    require_space,
    require_width,
)
from .lock import Lock
from .lynx import GREY, IpTerm, LynxIp, LynxRef, RefTerm
from .networks import IP_LAYERS, PLACES, REF_LAYERS, STAND_IN, require_network
from .part_params import LITE_BLOCK_STEP
from .resampler import Resampler
from .settings import LockSettings, checked_mask, parse_blocks, require_guidance, require_settings
from .stand_in import StandIn, StandInTerm
from .tokens import parse_frame_weights

CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, eq=False)
class LockResult:
    """A lock for one model, and what there is to say of it."""

    lock: Lock | None  # None where nothing acts
    identity_guidance: float  # the guidance scale of the identity alone; 0: none
    label: str  # of the adapter
    model: TargetParams
    notes: tuple[Note, ...]


def make_lock(
    settings: LockSettings,
    identity: LockableIdentity,
    adapter: Adapter,
    model: TargetParams,
    *,
    earlier: Sequence[Lock] = (),
    read_pictures: ReadPictures | None = None,
    device: torch.device = CPU,
) -> LockResult:
    """One identity for one model; raises InputError, naming the input, for what does not fit.

    ``earlier`` are the locks that the model has, ``device`` is where the keys and values of vectors are computed.
    """
    require_settings(settings)
    require_width(adapter.width_d, model.width_d)
    mask, frame_weights = checked_mask(settings.mask), parse_frame_weights(settings.frame_weights)
    parts = _acting_parts(adapter.network, settings)
    own_blocks = parts.blocks or adapter.blocks
    blocks = parse_blocks(settings.blocks, adapter_blocks=own_blocks, model_blocks=model.blocks)
    if not parts.blocks or settings.start_percent == settings.end_percent:
        return LockResult(None, 0.0, adapter.label, model, ())
    uses = {IP_LAYERS: parts.ip, STAND_IN: parts.stand_in, REF_LAYERS: parts.ref}
    places = {PLACES} if mask is not None or frame_weights else set()
    require_network(model.network, places | {name for name, part in uses.items() if part is not None})
    ip, ref, stand_in = _terms(parts, identity, adapter, model, settings.ref_text, read_pictures, device)
    seen = (*((ref.latents, ref.text) if ref else ()), *((stand_in.latent,) if stand_in else ()))
    lock = Lock(
        content=(adapter.content_sha256, identity.content_sha256, _content_sha256(seen)),
        ip=ip,
        ref=ref,
        stand_in=stand_in,
        strength=settings.strength,
        ref_strength=settings.ref_strength,
        blocks=blocks,
        start_percent=settings.start_percent,
        end_percent=settings.end_percent,
        apply_to=settings.apply_to,
        mask=mask,
        frame_weights=frame_weights,
        kept_as=settings.kept_as,
    )
    require_guidance(settings.identity_guidance, differs_by_prompt=lock.differs_by_prompt)
    notes = tuple(_notes_on(lock, earlier, model))
    return LockResult(lock, settings.identity_guidance, adapter.label, model, notes)


# The parts that act


@dataclass(frozen=True, slots=True, eq=False)
class _ActingParts:
    ip: tuple[LynxIp, Resampler] | None
    ref: LynxRef | None
    stand_in: StandIn | None
    blocks: tuple[int, ...]  # of the model in which any of them acts, ascending


def _acting_parts(network: AdapterNetwork, settings: LockSettings) -> _ActingParts:
    """The parts of an adapter that have a strength."""
    ip = network.ip if settings.strength else None
    stand_in = network.stand_in if settings.strength else None
    ref = network.ref if settings.ref_strength else None
    blocks = {block for part in (ip, ref, stand_in) if part is not None for block in part.blocks}
    tokens = None if ip is None or network.resampler is None else (ip, network.resampler)
    return _ActingParts(tokens, ref, stand_in, tuple(sorted(blocks)))


def _terms(
    parts: _ActingParts,
    identity: LockableIdentity,
    adapter: Adapter,
    model: TargetParams,
    ref_text: object,
    read_pictures: ReadPictures | None,
    device: torch.device,
) -> tuple[IpTerm | None, RefTerm | None, StandInTerm | None]:
    """What the acting parts read of the identity; raises InputError for what they lack, before anything is computed."""
    if parts.ip is not None:
        require_space(adapter.space_sha256, identity.space)
    stand_in = None if parts.stand_in is None else _stand_in_term(parts.stand_in, identity, adapter, read_pictures)
    ref = None if parts.ref is None else _ref_term(parts.ref, identity, model, ref_text, read_pictures)
    return (
        None if parts.ip is None else IpTerm.of(*parts.ip, identity.embeddings, device),
        None if ref is None else ref(),
        None if stand_in is None else stand_in(),
    )


def _stand_in_term(
    network: StandIn, identity: LockableIdentity, adapter: Adapter, read_pictures: ReadPictures | None
) -> Callable[[], StandInTerm]:
    """What reads the portrait and gives its term; raises InputError at once for what is missing."""
    portrait, read = checked_portrait(identity), checked_reader(read_pictures)
    return lambda: StandInTerm(network, read(portrait[None]), adapter.stand_in_expert)


def _ref_term(
    network: LynxRef,
    identity: LockableIdentity,
    model: TargetParams,
    ref_text: object,
    read_pictures: ReadPictures | None,
) -> Callable[[], RefTerm]:
    """What reads the reference picture and gives its term; raises InputError at once for what is missing."""
    crop, read = checked_reference(identity), checked_reader(read_pictures)
    text = checked_text(ref_text, model.text_d)
    pictures = torch.stack((crop, torch.full_like(crop, GREY)))  # 2 h w 3
    return lambda: RefTerm(network, read(pictures), text)


def _content_sha256(tensors: Sequence[Tensor]) -> str:
    """The SHA-256 of what tensors hold, hexadecimal: equal contents give equal keys and values."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()


# Notes


def _notes_on(lock: Lock, earlier: Sequence[Lock], model: TargetParams) -> Iterator[Note]:
    """What is allowed but probably not meant."""
    parts = [(len(term.network.blocks), model.blocks) for term in (lock.stand_in, lock.ref) if term is not None]
    if lock.ip is not None:
        every = 1 if lock.ip.is_normed_by_model else LITE_BLOCK_STEP
        parts.append((len(lock.ip.unnormed), -(-model.blocks // every)))
    for found, wanted in parts:
        if found < wanted:
            yield Note(
                "few_blocks",
                f"the adapter has weights for {found} of the {wanted} blocks of this model in which it acts; the file "
                "may be incomplete, or made for another model",
            )
    if lock.stand_in is not None:
        yield from _notes_on_portrait(lock.stand_in, model)
    locks = (*earlier, lock)
    if any(one.mask is None for one in locks) and len({one.content[1] for one in locks}) > 1:
        yield Note(
            "blended_identities",
            "several persons without a mask for each blend into one another; give every ID Lock a mask",
        )


def _notes_on_portrait(stand_in: StandInTerm, model: TargetParams) -> Iterator[Note]:
    """What speaks against Stand-In on this model, as far as names can say."""
    if None not in (stand_in.expert, model.noise_level) and stand_in.expert != model.noise_level:
        yield Note(
            "other_expert",
            f"the Stand-In file is for the {stand_in.expert}-noise expert, and the name of the model's file says "
            f"{model.noise_level} noise; if that is right, load the Stand-In file of the {model.noise_level}-noise "
            "expert",
        )
    if model.attention is not None and "sparse" in model.attention.lower():
        yield Note(
            "dense_attention",
            f"the portrait lengthens the keys of self-attention, and the sparse attention {quoted(model.attention)} "
            "takes only as many keys as queries, so it may compute every locked self-attention densely",
        )
