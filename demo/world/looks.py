"""What lies over the whole picture: the light of a shot, and the style that it is drawn in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .person import Colour

GREY = torch.tensor((0.299, 0.587, 0.114)).reshape(1, 3, 1, 1)  # BT.601


@dataclass(frozen=True, slots=True)
class Light:
    """A light by its colour and place."""

    tint: Colour  # factors
    right: float  # -1..1, turned by the take's side
    down: float
    brightness: float
    contrast: float


LIGHTS: Mapping[str, Light] = {
    "daylight": Light((1.0, 1.0, 1.0), 0.35, -0.6, 1.0, 1.0),
    "sunset": Light((1.12, 0.90, 0.70), 0.8, -0.1, 0.97, 1.05),
    "moonlight": Light((0.72, 0.84, 1.10), 0.4, -0.6, 0.88, 0.95),
    "soft light": Light((1.03, 1.0, 0.97), 0.1, -0.2, 1.06, 0.85),
    "side light": Light((1.0, 0.98, 0.95), 1.4, 0.0, 0.92, 1.2),
}


def lit(pixels: Tensor, light: Light) -> Tensor:
    """Pixels f 3 h w under a light, 0..1."""
    tinted = pixels * torch.tensor(light.tint).reshape(1, 3, 1, 1) * light.brightness
    return ((tinted - 0.5) * light.contrast + 0.5).clamp(0, 1)


def sketch(pixels: Tensor) -> Tensor:
    """Coloured pencil on paper: dark lines where the picture changes, pale colours between them."""
    grey = (pixels * GREY).sum(1, keepdim=True)  # f 1 h w
    pale = 0.5 * pixels + 0.15 * grey + 0.36
    lines = (3.0 * (edges(grey) - 0.03)).clamp(0, 0.85)
    return (pale * torch.tensor((1.0, 0.98, 0.93)).reshape(1, 3, 1, 1) * (1 - lines)).clamp(0, 1)


def neon(pixels: Tensor) -> Tensor:
    """A dark picture whose outlines glow in violet and cyan."""
    grey = (pixels * GREY).sum(1, keepdim=True)
    glow = (3.0 * (edges(grey) - 0.03)).clamp(0, 1)
    height = pixels.shape[2]
    down = torch.linspace(0, 1, height).reshape(1, 1, height, 1)
    colour = (
        torch.tensor((1.0, 0.25, 0.95)).reshape(1, 3, 1, 1) * (1 - down)
        + torch.tensor((0.15, 0.95, 1.0)).reshape(1, 3, 1, 1) * down
    )
    dark = 0.72 * pixels * torch.tensor((0.85, 0.72, 1.15)).reshape(1, 3, 1, 1)
    return (dark + (colour - dark) * 0.75 * glow).clamp(0, 1)


def edges(grey: Tensor) -> Tensor:
    """How fast a picture f 1 h w changes from pixel to pixel."""
    wide = functional.pad(grey, (1, 1, 1, 1), mode="replicate")
    across = (wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2]) / 2
    down = (wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1]) / 2
    return torch.hypot(across, down)
