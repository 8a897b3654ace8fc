"""WanCastPromptCheck: does the prompt speak of the same person as the identity?"""

from __future__ import annotations

from comfy_api.latest import io

from ..wan_core.identity.prompt_check import (
    PROMPT_MODES,
    PromptCheckRequest,
    PromptMode,
    check_prompt,
    describe,
)
from ..wan_core.identity.record import Identity
from .host import files
from .types import WanIdentity, names_its_errors


class WanCastPromptCheck(io.ComfyNode):
    """Holds the words of a prompt against the sex and age of an identity."""

    NODE_ID = "WanCastPromptCheck"

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=cls.NODE_ID,
            display_name="WanCast Prompt Check",
            category="WanCast/identity",
            description="Checks whether a prompt, in English or Chinese, names a person whom the identity can be, and "
            "warns when it describes the face, which the portrait decides.",
            search_aliases=["prompt conflict", "gender", "age", "character prompt", "consistency"],
            inputs=[
                io.String.Input(
                    "prompt", multiline=True, default="", tooltip="The prompt of the shot, in English or Chinese."
                ),
                WanIdentity.Input("identity", tooltip="The person who is to be in the shot."),
                io.Combo.Input(
                    "mode",
                    options=list(PROMPT_MODES),
                    default=PROMPT_MODES[0],
                    tooltip="What a conflict does. warn: the report says it. refuse: the run stops. off: no check.",
                ),
            ],
            outputs=[
                io.String.Output("prompt", tooltip="The same prompt, for CLIP Text Encode."),
                io.Boolean.Output(
                    "ok", tooltip="False when nobody whom the prompt names can be the person, by sex or age."
                ),
                io.String.Output("report", tooltip="OK, WARN or CONFLICT, with the words and their places."),
            ],
        )

    @classmethod
    @names_its_errors
    def execute(cls, prompt: str, identity: Identity, mode: PromptMode) -> io.NodeOutput:
        result = check_prompt(PromptCheckRequest(prompt, identity.attributes, mode), files.prompt_lexicon())
        return io.NodeOutput(prompt, result.ok, describe(result))
