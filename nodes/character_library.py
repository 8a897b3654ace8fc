"""WanCastCharacterSave and WanCastCharacterLoad: identities that stay, under a name."""

from __future__ import annotations

import re
from datetime import date
from typing import Any, ClassVar

from comfy_api.latest import io

from ..wan_core.identity.character import Consent, checked_day
from ..wan_core.identity.character_report import describe_character
from ..wan_core.media.files import MIB
from .host import devices, saving, voices
from .host.library import Library
from .host.loaded_characters import LoadedCharacters
from .host.made_files import MadeFiles
from .types import WanIdentity, names_its_errors

IF_EXISTS = ("refuse", "replace")
COMMA = re.compile("[,\uff0c\u3001]")  # of English and of Chinese

NarratorVoice = io.Custom("NARRATOR_VOICE")  # of TTS Audio Suite

IN_WORKFLOW = (
    "It stands in the workflow, which ComfyUI puts into the pictures that it saves; the Cast tab writes into the "
    "character alone."
)

made_files = MadeFiles()


class WanCastCharacterSave(io.ComfyNode):
    """Keeps an identity in the library of characters."""

    NODE_ID = "WanCastCharacterSave"
    library: ClassVar[Library]  # made when the pack loads

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=cls.NODE_ID,
            display_name="WanCast Character Save",
            category="WanCast/identity",
            description=(
                "Keeps an identity, and a voice with it, as a character of this computer's library: the next workflow "
                "loads it without the pictures and without encoding again. Faces are biometric data: say who allowed "
                "what, and delete a character when it is not needed any more."
            ),
            search_aliases=["save character", "save identity", "face library", "cast", "digital actor", "save face"],
            inputs=[
                WanIdentity.Input("identity", tooltip="The person, from IdentityEncode."),
                io.String.Input("name", default="", tooltip="What the character is called; no two have the same name."),
                io.Combo.Input(
                    "if_exists",
                    options=list(IF_EXISTS),
                    default=IF_EXISTS[0],
                    tooltip="When another identity, voice or text has the name. refuse: an error, and nothing is "
                    "changed. replace: the character gets this one as its next revision; what is empty here stays.",
                ),
                io.Audio.Input(
                    "voice",
                    optional=True,
                    tooltip="A recording of the voice, at most a minute and 24 MiB of samples: stereo at 48 kHz fits.",
                ),
                io.String.Input(
                    "transcript",
                    multiline=True,
                    default="",
                    optional=True,
                    tooltip=f"What the voice says, word for word; some speech models need it. {IN_WORKFLOW}",
                ),
                io.String.Input(
                    "notes", multiline=True, default="", optional=True, tooltip=f"Whatever helps you. {IN_WORKFLOW}"
                ),
                io.String.Input(
                    "tags", default="", optional=True, tooltip="Words to find the character by, between commas."
                ),
                io.String.Input(
                    "consent_by",
                    default="",
                    optional=True,
                    tooltip="Who allowed the use of the face. Giving one of the three of consent replaces all three.",
                ),
                io.String.Input("consent_scope", default="", optional=True, tooltip="What was allowed."),
                io.String.Input(
                    "consent_until", default="", optional=True, tooltip="The last day of it, as YYYY-MM-DD."
                ),
            ],
            outputs=[
                WanIdentity.Output("identity", tooltip="The identity as it came in."),
                io.String.Output(
                    "character", tooltip="What WanCast Character Load takes: the id and a check of the content."
                ),
                io.String.Output("report", tooltip="What was done, and what is saved now."),
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs: object) -> int:
        return made_files.losses(cls.hidden.unique_id)

    @classmethod
    @names_its_errors
    def execute(
        cls,
        identity: Any,
        name: str,
        if_exists: str,
        voice: io.Audio.Type | None = None,
        transcript: str = "",
        notes: str = "",
        tags: str = "",
        consent_by: str = "",
        consent_scope: str = "",
        consent_until: str = "",
    ) -> io.NodeOutput:
        request = saving.SaveRequest(
            name=name,
            identity=identity,
            voice=voices.voice_of(voice, transcript),
            notes=notes,
            tags=tuple(filter(str.strip, COMMA.split(tags))),
            consent=Consent(consent_by, consent_scope, checked_day(consent_until, name="consent_until")),
            may_replace=if_exists == "replace",
        )
        result = saving.save(cls.library, request)
        made_files.add(cls.hidden.unique_id, result.path)
        reference = result.character.reference
        report = f"{result.fate}\n{describe_character(result.character, date.today(), asked_for=reference)}"
        return io.NodeOutput(identity, reference, report)


class WanCastCharacterLoad(io.ComfyNode):
    """Takes a character out of the library."""

    NODE_ID = "WanCastCharacterLoad"
    loaded: ClassVar[LoadedCharacters]  # made when the pack loads

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=cls.NODE_ID,
            display_name="WanCast Character Load",
            category="WanCast/identity",
            description=(
                "Takes a character out of this computer's library: the identity bit for bit as it was saved, a "
                "preview, and the voice for speech models. The workflow holds no more than a reference."
            ),
            search_aliases=["load character", "load identity", "face library", "cast", "digital actor", "load face"],
            inputs=[
                io.String.Input(
                    "character",
                    default="",
                    tooltip="Pick a character by its picture. The value is its id with a check of the content.",
                ),
            ],
            outputs=[
                WanIdentity.Output("identity", tooltip="The identity, for IDLock."),
                io.Image.Output("preview", tooltip="The portrait; the first aligned face where there is none."),
                io.Audio.Output(
                    "voice", tooltip="The recording of the voice. Without one, what it is linked to does not run."
                ),
                io.String.Output("transcript", tooltip="What the voice says, word for word."),
                NarratorVoice.Output("narrator", tooltip="Voice and transcript, for the nodes of TTS Audio Suite."),
                io.String.Output("report", tooltip="Whose character it is, what was allowed, and what to think of."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, character: str | None = None) -> str:
        return cls.loaded.fingerprint(character)

    @classmethod
    @names_its_errors
    def execute(cls, character: str) -> io.NodeOutput:
        found = cls.loaded.load(character)
        use = cls.loaded.hot.use()
        kept = f"{use.characters} in RAM with {use.bytes / MIB:.1f} MiB; {use.hits} hits, {use.misses} misses"
        report = f"{describe_character(found, date.today(), asked_for=character)}\nhot characters: {kept}"
        picture = found.identity.crops[0] if found.identity.portrait is None else found.identity.portrait
        preview = picture[None].to(devices.intermediate_device(), copy=True)  # 1 h w 3
        return io.NodeOutput(found.identity, preview, *voices.voice_outputs(found), report)
