"""Probes for sampling with two experts: one model that holds both, a model with a known solution, a log of calls."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import comfy.model_management
import torch
from comfy.patcher_extension import WrappersMP
from comfy_api.latest import io
from comfy_execution.utils import get_executing_context
from server import PromptServer

from .probe import FreshProbe, Probe

SIGMA_TOLERANCE = 1e-6
HOLD_S = 60.0
MARKER = "wancast_probe"  # in transformer_options: the name of the model that they were made for

Call = dict[str, Any]  # the keywords of the host's model_function_wrapper


class WanCastProbeComposite(Probe):
    """One model that sends each evaluation to one of two networks, at and above the boundary to the first."""

    INPUTS = (
        io.Model.Input("model_high"),
        io.Model.Input("model_low"),
        io.Float.Input("boundary_sigma", default=0.875, min=0.0, max=1.0, step=1e-6),
    )

    @classmethod
    def execute(cls, model_high: Any, model_low: Any, boundary_sigma: float) -> io.NodeOutput:
        def evaluate(apply_high: Callable[..., torch.Tensor], call: Call) -> torch.Tensor:
            is_high = float(call["timestep"].max()) >= boundary_sigma - SIGMA_TOLERANCE
            apply = apply_high if is_high else model_low.model.apply_model
            return apply(call["input"], call["timestep"], **call["c"])

        model = model_high.clone()
        model.set_model_unet_function_wrapper(evaluate)
        return io.NodeOutput(model)


class WanCastProbeGaussianFlow(Probe):
    """A model that denoises data of a normal distribution around 0 exactly, whatever its network would say."""

    INPUTS = (*Probe.INPUTS, io.Float.Input("deviation", default=1.0, min=0.01, max=10.0))

    @classmethod
    def execute(cls, model: Any, deviation: float) -> io.NodeOutput:
        def denoise(_: Callable[..., torch.Tensor], call: Call) -> torch.Tensor:
            """The expectation of the data where x = (1 - sigma) * data + sigma * noise."""
            x = call["input"].double()  # b c t h w
            sigma = call["timestep"].double().reshape(-1, 1, 1, 1, 1)  # b 1 1 1 1
            share = 1.0 - sigma
            variance = (share * deviation) ** 2 + sigma**2
            return (share * deviation**2 / variance * x).to(call["input"].dtype)

        model = model.clone()
        model.set_model_unet_function_wrapper(denoise)
        return io.NodeOutput(model)


class WanCastProbeReplace(Probe):
    """A model with weights of another: one weight, one weight as a patch says it, or the whole network."""

    INPUTS = (*Probe.INPUTS, io.Model.Input("other"), io.Combo.Input("how", options=["set", "diff", "network"]))

    @classmethod
    def execute(cls, model: Any, other: Any, how: str) -> io.NodeOutput:
        model, key = model.clone(), "diffusion_model.blocks.0.self_attn.q.weight"
        weight = other.model.state_dict()[key]
        if how == "network":
            model.add_object_patch("diffusion_model", other.model.diffusion_model)
        elif how == "set":
            model.add_patches({key: ("set", (weight,))})
        else:
            model.add_patches({key: ("diff", (weight,))}, strength_patch=1.0, strength_model=0.0)
        return io.NodeOutput(model)


class WanCastProbeModelScale(Probe):
    """A LATENT in the scale in which the model samples it, in float64."""

    INPUTS = (*Probe.INPUTS, io.Latent.Input("latent"))
    OUTPUTS = (io.Latent.Output("latent"),)

    @classmethod
    def execute(cls, model: Any, latent: dict[str, Any]) -> io.NodeOutput:
        return io.NodeOutput({"samples": model.model.process_latent_in(latent["samples"].double())})


class WanCastProbeLog(FreshProbe):
    """A model that writes down each call of its wrappers, and the log that it writes to.

    An entry holds the place, the sigma and rows of the call (none at outer_sample), whether it came for this model's
    own network, and the marker in the options that came with it.
    """

    INPUTS = (*Probe.INPUTS, io.String.Input("name"))
    OUTPUTS = (*Probe.OUTPUTS, io.AnyType.Output("log"))

    @classmethod
    def execute(cls, model: Any, name: str) -> io.NodeOutput:
        model, log = model.clone(), []
        network = model.model
        model.model_options["transformer_options"][MARKER] = name

        def write(place: str, own: bool, options: dict[str, Any], sigma: torch.Tensor | None = None) -> None:
            numbers = {} if sigma is None else {"sigma": float(sigma.max()), "rows": len(sigma)}
            log.append({"place": place, "own": own, "marker": options.get(MARKER)} | numbers)

        def outer_sample(inner: Any, *args: Any, **named: Any) -> Any:
            guider = inner.class_obj
            write("outer_sample", guider.model_patcher.model is network, guider.model_options["transformer_options"])
            return inner(*args, **named)

        def predict_noise(inner: Any, x: torch.Tensor, sigma: torch.Tensor, options: dict[str, Any], seed: Any) -> Any:
            write("predict_noise", inner.class_obj.inner_model is network, options["transformer_options"], sigma)
            return inner(x, sigma, options, seed)

        def apply_model(inner: Any, x: torch.Tensor, sigma: torch.Tensor, *rest: Any, **named: Any) -> Any:
            _, _, _, options, *_ = rest  # after what is added to x, the text and the control
            write("apply_model", inner.class_obj is network, options, sigma)
            return inner(x, sigma, *rest, **named)

        model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, MARKER, outer_sample)
        model.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, MARKER, predict_noise)
        model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, MARKER, apply_model)
        return io.NodeOutput(model, log)


class WanCastProbeReadLog(Probe):
    """Sends a log to the user interface after another node has run."""

    INPUTS = (io.AnyType.Input("log"), io.AnyType.Input("after"))
    OUTPUTS = ()
    SHOWS = True

    @classmethod
    def execute(cls, log: list[dict[str, Any]], after: Any) -> io.NodeOutput:
        return io.NodeOutput(ui={"log": [json.dumps(log)]})


class AtCall(FreshProbe):
    """A model that does something when it is evaluated for the nth time."""

    INPUTS = (*Probe.INPUTS, io.Int.Input("at_call", default=1, min=1))
    ACT: Callable[[], None]

    @classmethod
    def execute(cls, model: Any, at_call: int) -> io.NodeOutput:
        calls, act = 0, cls.ACT

        def apply_model(inner: Any, *args: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == at_call:
                act()
            return inner(*args, **named)

        model = model.clone()
        model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "wancast_at_call", apply_model)
        return io.NodeOutput(model)


def wait_for_interrupt() -> None:
    running = get_executing_context()
    PromptServer.instance.send_sync("wancast_probe_held", {"prompt_id": running.prompt_id, "node": running.node_id})
    deadline = time.monotonic() + HOLD_S
    while not comfy.model_management.processing_interrupted():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody interrupted the run in {HOLD_S:g} s")
        time.sleep(0.01)


class WanCastProbeInterrupt(AtCall):
    """A model that asks the host to interrupt the run when it is evaluated for the nth time."""

    ACT = staticmethod(comfy.model_management.interrupt_current_processing)


class WanCastProbeHold(AtCall):
    """A model that waits at its nth evaluation, and says so by an event, until the run is to be interrupted."""

    ACT = staticmethod(wait_for_interrupt)
