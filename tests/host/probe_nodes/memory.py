"""Probes for what a run leaves in memory: which networks are loaded, which threads run; and an expert that breaks."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import comfy.model_management
import torch
from comfy.patcher_extension import CallbacksMP, WrappersMP
from comfy_api.latest import io

from .moe import Call
from .probe import FreshProbe, Probe

KEY = "wancast_probe_memory"

names: WeakKeyDictionary[torch.nn.Module, str] = WeakKeyDictionary()  # of the watched networks


class WanCastProbeWatch(FreshProbe):
    """A model that writes down when it is loaded and evaluated, and which threads start after the first load.

    Several share a log when the log of one is linked to the next. An entry of an evaluation names the watched networks
    that the host holds as loaded.
    """

    INPUTS = (*Probe.INPUTS, io.String.Input("name"), io.AnyType.Input("log", optional=True))
    OUTPUTS = (*Probe.OUTPUTS, io.AnyType.Output("log"))

    @classmethod
    def execute(cls, model: Any, name: str, log: list[dict[str, Any]] | None = None) -> io.NodeOutput:
        model = model.clone()
        log = [] if log is None else log
        names[model.model] = name

        def note_load(*_: Any) -> None:
            threading.setprofile(note_thread)  # from now on each new thread calls it first
            log.append({"event": "load", "name": name})

        def note_thread(*_: Any) -> None:
            sys.setprofile(None)
            log.append({"event": "thread", "name": threading.current_thread().name})

        def predict_noise(inner: Any, x: torch.Tensor, sigma: torch.Tensor, options: dict[str, Any], seed: Any) -> Any:
            log.append({"event": "evaluate", "name": name, "sigma": float(sigma.max()), "loaded": loaded_names()})
            return inner(x, sigma, options, seed)

        model.add_callback_with_key(CallbacksMP.ON_LOAD, KEY, note_load)
        model.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, KEY, predict_noise)
        return io.NodeOutput(model, log)


def loaded_names() -> list[str]:
    """The watched networks of which bytes are on the device; the dynamic manager lists others as loaded too."""
    loaded = (patcher for patcher in comfy.model_management.loaded_models() if patcher is not None)
    networks = (patcher.model for patcher in loaded if patcher.loaded_size())
    return sorted(names[network] for network in networks if network in names)


class WanCastProbeThreads(FreshProbe):
    """Sends the names of the host's threads to the user interface after another node has run; ends the watch."""

    INPUTS = (io.AnyType.Input("after"),)
    OUTPUTS = ()
    SHOWS = True

    @classmethod
    def execute(cls, after: Any) -> io.NodeOutput:
        threading.setprofile(None)
        return io.NodeOutput(ui={"threads": [json.dumps([thread.name for thread in threading.enumerate()])]})


class WanCastProbeNan(Probe):
    """A model whose output is NaN below a sigma."""

    INPUTS = (*Probe.INPUTS, io.Float.Input("below_sigma", default=1.0, min=0.0, max=2.0, step=1e-6))

    @classmethod
    def execute(cls, model: Any, below_sigma: float) -> io.NodeOutput:
        def evaluate(apply: Callable[..., torch.Tensor], call: Call) -> torch.Tensor:
            denoised = apply(call["input"], call["timestep"], **call["c"])
            return denoised * float("nan") if float(call["timestep"].max()) < below_sigma else denoised

        model = model.clone()
        model.set_model_unet_function_wrapper(evaluate)
        return io.NodeOutput(model)
