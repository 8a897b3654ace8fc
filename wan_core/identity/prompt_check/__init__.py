"""Whether a prompt, in English or Chinese, agrees with an identity. ``check_prompt`` is the way in."""

from .checking import PROMPT_MODES, PromptCheck, PromptCheckRequest, PromptMode, check_prompt
from .lexicon import Lexicon
from .report import describe

__all__ = ["PROMPT_MODES", "Lexicon", "PromptCheck", "PromptCheckRequest", "PromptMode", "check_prompt", "describe"]
