"""What probes have in common."""

from __future__ import annotations

import uuid
from typing import Any

from comfy_api.latest import io


class Probe(io.ComfyNode):
    """A node of the tests with the name of its class as its id; by itself one that changes a model."""

    INPUTS: tuple[Any, ...] = (io.Model.Input("model"),)
    OUTPUTS: tuple[Any, ...] = (io.Model.Output("model"),)
    SHOWS = False  # whether the host runs it for what it sends to the page

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=cls.__name__.removesuffix("Clone"),  # the host runs a copy of the class that is called so
            category="WanCast probe",
            inputs=list(cls.INPUTS),
            outputs=list(cls.OUTPUTS),
            is_output_node=cls.SHOWS,
        )


class FreshProbe(Probe):
    """A probe that runs anew in each prompt: it counts, it logs, or it looks at what comes and goes."""

    @classmethod
    def fingerprint_inputs(cls, **_: Any) -> str:
        return uuid.uuid4().hex
