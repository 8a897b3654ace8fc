"""The voice of a character as the packs for speech take it."""

from __future__ import annotations

from typing import Any

from comfy_execution.graph_utils import ExecutionBlocker

from ...wan_core.errors import InputError
from ...wan_core.identity.character import Character, Voice
from ...wan_core.media.sound import Sound, checked_sound

NO_VOICE = (
    "This character has no voice. Save it again with a recording of the voice, or take away what needs the voice."
)


class NarratorVoice(dict[str, Any]):
    """NARRATOR_VOICE of TTS Audio Suite, with a repr that tells nothing: the host keeps it where a node fails."""

    def __repr__(self) -> str:
        return "NarratorVoice()"


def voice_outputs(character: Character) -> tuple[Any, Any, Any]:
    """The voice as AUDIO, what it says, and both as NARRATOR_VOICE; blocked, with a sentence, where there is none."""
    voice = character.voice
    if voice is None:
        blocked = ExecutionBlocker(NO_VOICE)
        return blocked, blocked, blocked
    audio = Sound(voice.waveform.clone(), voice.rate_hz).as_audio()
    narrator = NarratorVoice(
        audio=audio,
        audio_path=None,
        source_audio_path=None,
        reference_text=voice.transcript,
        canonical_reference_text=voice.transcript,
        character_name=character.card.name,
        source="direct",
        customized=True,
        trim_start=0.0,
        trim_end=0.0,
    )
    return audio, voice.transcript, narrator


def voice_of(audio: object, transcript: str) -> Voice | None:
    """The host's AUDIO and what it says, as a voice; None for none. Raises InputError for what is no voice."""
    if audio is not None:
        sound = checked_sound(audio, name="voice")
        return Voice(sound.waveform.detach().cpu().float(), sound.rate_hz, transcript)
    if transcript:
        raise InputError("transcript", found="words without a voice", wanted="both", fix="Link the recording to voice.")
    return None
