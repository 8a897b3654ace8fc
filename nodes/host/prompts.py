"""What stands in the prompt of a run."""

from __future__ import annotations

from typing import Any


def stated(hidden: Any, name: str) -> object:
    """What the prompt gives for an input of the node, which asks for ``dynprompt``; None where it gives nothing.

    The host drops a key of a dynamic combo that it does not know, and hands the node the same as for no input at all.
    Nodes that a loop or a subgraph made while it ran stand in the dynamic prompt only.
    """
    if hidden is None or hidden.dynprompt is None:
        return None
    return hidden.dynprompt.get_node(hidden.unique_id)["inputs"].get(name)
