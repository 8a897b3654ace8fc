"""WanCast: a cast that stays the same through every Wan2.2 shot, as ComfyUI nodes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .nodes import WanCastExtension

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> WanCastExtension:
    """Hands the host our extension; a failing import is logged with its traceback, which the host itself leaves out."""
    try:
        from .nodes import WanCastExtension
    except Exception:
        logging.getLogger(__name__).exception("WanCast could not be imported")
        raise
    return WanCastExtension()
