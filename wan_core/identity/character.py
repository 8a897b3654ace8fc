"""A character: an identity with a name, what a person reads of it, and a voice."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import torch
from torch import Tensor

from ..checks import checked_count, is_plain_tensor, require_text
from ..errors import InputError, quoted
from .record import Identity

MOST_NAME_LETTERS = 64
MOST_LINE_LETTERS = 200  # of the one who consents
MOST_PROSE_LETTERS = 4000  # of notes, of a transcript and of what is consented to
MOST_TAGS = 32
MOST_TAG_LETTERS = 32
MOST_REVISIONS = 2**53 - 1  # a page counts no further
MOST_REFERENCES = 16
MOST_CHANNELS = 2
MOST_VOICE_S = 60
MIB = 2**20
MOST_VOICE_BYTES = 24 * MIB  # a minute of two channels at 48 kHz takes 22
LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 8_000, 192_000
PICTURE_TOLERANCE = 1e-3  # of numbers from 0 to 1 that were interpolated
REFERENCE_DIGITS = 12  # of the content's SHA-256

ID = re.compile(r"[0-9a-f]{32}")
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
JOINERS = "\u200c\u200d"  # of Persian, Hindi and emoji
BLANK = "\u115f\u1160\u2800\u3164\uffa0"  # letters and signs that show nothing


# Texts


def checked_line(text: object, most: int, *, name: str, least: int = 0) -> str:
    """One printable line in NFC, without spaces around it; raises InputError for other text and other lengths."""
    return _checked_text(text, range(least, most + 1), JOINERS, name)


def checked_prose(text: object, *, name: str) -> str:
    """Printable text in NFC, which may have line ends; raises InputError for other text and for more of it."""
    return _checked_text(text, range(MOST_PROSE_LETTERS + 1), JOINERS + "\n\t", name)


def _checked_text(text: object, lengths: range, allowed: str, name: str) -> str:
    require_text(text, name=name)
    plain = unicodedata.normalize("NFC", str(text).replace("\r\n", "\n").replace("\r", "\n")).strip()
    is_unseen = lengths.start > 0 and not any(map(_is_seen, plain))
    if is_unseen or len(plain) not in lengths:
        wanted = f"{'from 1 to' if lengths.start else 'at most'} {lengths.stop - 1} letters"
        found = "nothing that can be seen" if is_unseen else f"{len(plain)} letters"
        raise InputError(name, found=found, wanted=wanted, fix="Write another text.")
    strange = [letter for letter in plain if not _is_plain(letter) and letter not in allowed]
    if strange:
        found = f"the letter U+{ord(strange[0]):04X}"
        raise InputError(name, found=found, wanted="text that can be printed", fix="Leave that letter out.")
    return plain


def _is_plain(letter: str) -> bool:
    """Whether it can be printed; the wide space of Chinese can."""
    return letter.isprintable() or unicodedata.category(letter) == "Zs"


def _is_seen(letter: str) -> bool:
    """Whether it shows something by itself: letters, numbers, signs and punctuation, but for the blank ones."""
    return unicodedata.category(letter)[0] in "LNPS" and letter not in BLANK


def checked_day(text: object, *, name: str) -> date | None:
    """A day as YYYY-MM-DD, None for an empty text; raises InputError for anything else."""
    if text == "":
        return None
    try:
        return date.fromisoformat(text if isinstance(text, str) and DAY.fullmatch(text) else "")
    except ValueError:
        wanted = "a day as YYYY-MM-DD, or nothing"
        raise InputError(name, found=quoted(text), wanted=wanted, fix="Write it like 2027-12-31.") from None


def name_key(name: str) -> str:
    """What two names share that people take for the same: Unicode's canonical caseless form, D145, without joiners."""
    unjoined = "".join(letter for letter in name if letter not in JOINERS)
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", unjoined).casefold())


def reference_of(character_id: str, content_sha256: str) -> str:
    """What a workflow holds of a character: its id and the start of the SHA-256 of what an adapter reads."""
    return f"{character_id}@{content_sha256[:REFERENCE_DIGITS]}"


# The record


@dataclass(frozen=True, slots=True)
class Consent:
    """Who allowed what, and until when; empty where nothing is recorded. Raises InputError for other text."""

    by: str = field(default="", repr=False)
    scope: str = field(default="", repr=False)
    until: date | None = field(default=None, repr=False)  # the last day; None: no end is recorded

    def __post_init__(self) -> None:
        object.__setattr__(self, "by", checked_line(self.by, MOST_LINE_LETTERS, name="consent_by"))
        object.__setattr__(self, "scope", checked_prose(self.scope, name="consent_scope"))
        if self.until is not None and type(self.until) is not date:
            raise InputError("consent_until", found=quoted(self.until), wanted="a day", fix="Write it like 2027-12-31.")


@dataclass(frozen=True, slots=True)
class Card:
    """What a person reads of a character; raises InputError for what cannot be read."""

    id: str  # made by the library: 32 hexadecimal digits
    name: str = field(repr=False)
    notes: str = field(repr=False)
    tags: tuple[str, ...] = field(repr=False)
    consent: Consent = field(repr=False)
    created: datetime  # UTC
    revision: int  # 1 at first, one more with every change

    def __post_init__(self) -> None:
        require_id(self.id)
        object.__setattr__(self, "name", checked_line(self.name, MOST_NAME_LETTERS, name="name", least=1))
        object.__setattr__(self, "notes", checked_prose(self.notes, name="notes"))
        object.__setattr__(self, "tags", _checked_tags(self.tags))
        if self.created.utcoffset() != timedelta(0):
            raise InputError("created", found="another time zone", wanted="UTC", fix="Save the character again.")
        checked_count(self.revision, MOST_REVISIONS, name="revision")


def require_id(character_id: object) -> None:
    """Raises InputError unless this can be the id of a character, which is safe in a path."""
    if not isinstance(character_id, str) or not ID.fullmatch(character_id):
        raise InputError(
            "character", found=quoted(character_id), wanted="a character's id", fix="Pick a character in the node."
        )


def _checked_tags(tags: tuple[str, ...]) -> tuple[str, ...]:
    """The tags without those that repeat an earlier one."""
    plain = [checked_line(tag, MOST_TAG_LETTERS, name="tags", least=1) for tag in tags]
    distinct = {name_key(tag): tag for tag in reversed(plain)}
    if len(distinct) > MOST_TAGS:
        found, wanted = f"{len(distinct)} tags", f"at most {MOST_TAGS}"
        raise InputError("tags", found=found, wanted=wanted, fix="Leave some out.")
    return tuple(reversed(distinct.values()))


@dataclass(frozen=True, slots=True, eq=False)
class Voice:
    """A sample of a voice and what it says; raises InputError for what is no sound of a bounded length."""

    waveform: Tensor = field(repr=False)  # c s, fp32: one or two channels, at most a minute
    rate_hz: int
    transcript: str = field(repr=False)  # word for word; empty where nobody wrote it down

    def __post_init__(self) -> None:
        sound = self.waveform
        if not is_plain_tensor(sound) or sound.dtype != torch.float32 or sound.ndim != 2:
            raise _bad_voice("no waveform of channels and samples in fp32", "one")
        if type(self.rate_hz) is not int or not LOWEST_RATE_HZ <= self.rate_hz <= HIGHEST_RATE_HZ:
            raise _bad_voice(f"a rate of {quoted(self.rate_hz)} Hz", f"{LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz")
        channels, samples = sound.shape
        if not 1 <= channels <= MOST_CHANNELS:
            raise _bad_voice(f"{channels} channels", f"1 to {MOST_CHANNELS}")
        if not 1 <= samples <= MOST_VOICE_S * self.rate_hz:
            raise _bad_voice(f"{samples / self.rate_hz:.1f} s", f"a sample of at most {MOST_VOICE_S} s")
        if sound.nbytes > MOST_VOICE_BYTES:
            raise _bad_voice(f"{sound.nbytes / MIB:.0f} MiB of samples", f"at most {MOST_VOICE_BYTES // MIB} MiB")
        if not sound.isfinite().all():
            raise _bad_voice("NaN or an infinity", "finite numbers")
        object.__setattr__(self, "transcript", checked_prose(self.transcript, name="transcript"))


def _bad_voice(found: str, wanted: str) -> InputError:
    return InputError(
        "voice", found=found, wanted=wanted, fix="Give a short recording of the voice, at 48 kHz or less."
    )


@dataclass(frozen=True, slots=True, eq=False)
class Character:
    """An identity that can be kept; raises InputError for more references, and for pictures that are none."""

    card: Card
    identity: Identity
    voice: Voice | None = None

    def __post_init__(self) -> None:
        identity = self.identity
        count = max(len(identity.references), len(identity.embeddings))
        if count > MOST_REFERENCES:
            found, wanted = f"{count} vectors", f"at most {MOST_REFERENCES}"
            raise InputError("identity", found=found, wanted=wanted, fix="Encode fewer pictures.")
        for picture in (identity.crops, identity.reference_crop, identity.portrait):
            if picture is not None:
                _require_picture(picture)

    def tensors(self) -> dict[str, Tensor]:
        """Its tensors by name, those that it has."""
        parts = ("z", "references", "embeddings", "crops", "reference_crop", "portrait")
        found = {name: getattr(self.identity, name) for name in parts}
        found["voice"] = self.voice.waveform if self.voice else None
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    @property
    def reference(self) -> str:
        """What a workflow holds of it."""
        return reference_of(self.card.id, self.identity.content_sha256)


def _require_picture(picture: Tensor) -> None:
    fix = "Make the identity with IdentityEncode."
    if picture.dtype != torch.float32:
        raise InputError("identity", found=f"a picture in {picture.dtype}", wanted="torch.float32", fix=fix)
    if picture.numel() and not ((picture >= -PICTURE_TOLERANCE) & (picture <= 1 + PICTURE_TOLERANCE)).all():
        raise InputError("identity", found="a picture of other numbers", wanted="numbers from 0 to 1", fix=fix)
