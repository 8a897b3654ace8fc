"""What stands in the prompt of a run."""

from __future__ import annotations

from typing import Any


def stated(hidden: Any, name: str) -> object:
    """What the prompt gives for an input of the node; None where it gives nothing.

    The host drops a key of a dynamic combo that it does not know, and hands the node the same as for no input at all.
    """
    if hidden is None or not hidden.prompt:
        return None
    return hidden.prompt.get(hidden.unique_id, {}).get("inputs", {}).get(name)
