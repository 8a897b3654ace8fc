"""Where the weights of several models are while they share a device: off it, in RAM, or still on disk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import comfy.model_management
import torch
from comfy.quant_ops import QuantizedTensor

from ...wan_core.moe.warm import touch
from .models import Model

RAM_HEADROOM_BYTES = 2 << 30  # left to everything else when weights are fetched


def offload(model: Model) -> None:
    """Moves a model's weights off its device; what the host keeps of them in RAM stays there."""
    if model.is_dynamic():
        model.partially_unload(model.offload_device, 1e32)
        return
    others = [
        loaded
        for loaded in comfy.model_management.current_loaded_models
        if loaded.model is None or loaded.model.clone_base_uuid != model.clone_base_uuid
    ]
    comfy.model_management.free_memory(1e32, model.load_device, keep_loaded=others)


@contextmanager
def warmer() -> Iterator[Callable[[Model], None]]:
    """Gives a function that fetches a model's weights into RAM on a thread; no thread outlives the block."""
    stop = threading.Event()
    threads: list[threading.Thread] = []

    def warm(model: Model) -> None:
        buffered = model.loaded_ram_size() if model.is_dynamic() else 0  # in the host's own buffers in RAM
        if model.loaded_size() + buffered >= model.model_size():
            return
        budget_bytes = comfy.model_management.get_free_memory(torch.device("cpu")) - RAM_HEADROOM_BYTES
        args = (parts_in_ram(model), budget_bytes, stop.is_set)
        thread = threading.Thread(target=touch, args=args, name="wancast-warm", daemon=True)
        threads.append(thread)
        thread.start()

    try:
        yield warm
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def parts_in_ram(model: Model) -> list[torch.Tensor]:
    """The memory behind a model's weights that are not on another device, as bytes and without a copy: each n."""
    plain = (weight.data for weight in model.model.parameters())
    stored = (weight._qdata if isinstance(weight, QuantizedTensor) else weight for weight in plain)
    storages = [weight.untyped_storage() for weight in stored if weight.device.type == "cpu"]
    distinct = {storage.data_ptr(): storage for storage in storages}.values()
    return [torch.empty(0, dtype=torch.uint8).set_(storage) for storage in distinct]
