"""A file for the host's MediaPipe landmarker that finds one face in the middle of every picture.

Layout: comfy_extras/nodes_mediapipe.py. Only the heads are in the file, with constant answers; the loader leaves the
rest as it was made, and nothing of it reaches the answers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

DETECTOR_PX, MESH_PX, POINTS = 128.0, 192.0, 478
ANCHORS, LOGIT, NEVER = 6, 4.0, -10.0
BOX_SHARE = 5.0  # of the picture: so large that the boxes of all anchors are one
ROI_SHARE = 1.5 * BOX_SHARE  # what the mesh network looks at, as a share of the picture
# The five points, as a share of the picture from its middle: irises, nose tip, mouth corners.
FIVE = {468: (-0.14, -0.12), 473: (0.14, -0.12), 1: (0.0, 0.04), 61: (-0.11, 0.2), 291: (0.11, 0.2)}
NOSE_DEPTH = -0.12
RADIUS = (0.24, 0.32)
LINES = ("face_oval", "left_eye", "right_eye", "left_eyebrow", "right_eyebrow", "lips", "irises", "nose", "tesselation")


def points() -> Tensor:
    """All points as a share of the picture from its middle, 478 3: a bowl of a face with the five in their places."""
    turn = torch.arange(POINTS) * (math.pi * (3 - math.sqrt(5)))  # sunflower seeds
    out = ((torch.arange(POINTS) + 0.5) / POINTS).sqrt()
    x, y = RADIUS[0] * out * turn.cos(), RADIUS[1] * out * turn.sin() + 0.02
    bowl = torch.stack((x, y, NOSE_DEPTH * (1 - out**2)), dim=1)  # 478 3
    for index, (across, down) in FIVE.items():
        bowl[index, :2] = torch.tensor((across, down))
    return bowl


def landmarker(name: str) -> dict[str, Tensor]:
    """The file."""
    share = points()
    in_mesh = share * MESH_PX / ROI_SHARE + torch.tensor((MESH_PX / 2, MESH_PX / 2, 0.0))  # 478 3
    box = torch.zeros(ANCHORS, 16)
    box[0, :8] = torch.tensor((0.0, 0.0, BOX_SHARE, BOX_SHARE, -0.1, 0.0, 0.1, 0.0)) * DETECTOR_PX
    return {
        "detector_short.cls_16.weight": torch.zeros(2, 88, 1, 1),
        "detector_short.cls_16.bias": torch.full((2,), NEVER),
        "detector_short.cls_8.weight": torch.zeros(ANCHORS, 96, 1, 1),
        "detector_short.cls_8.bias": torch.tensor((LOGIT, *[NEVER] * (ANCHORS - 1))),
        "detector_short.reg_8.weight": torch.zeros(ANCHORS * 16, 96, 1, 1),
        "detector_short.reg_8.bias": box.flatten(),
        "detector_full.cls_conv.weight": torch.zeros(4, 48, 1, 1),
        "mesh.head_landmarks.weight": torch.zeros(POINTS * 3, 8, 3, 3),
        "mesh.head_landmarks.bias": in_mesh.flatten(),
        "blendshapes.head.bias": torch.zeros(52),
        "canonical_vertices": share * torch.tensor((1.0, -1.0, -1.0)) * 30,
        "procrustes_indices": torch.arange(0, POINTS, 7, dtype=torch.int32),
        "procrustes_weights": torch.ones(len(range(0, POINTS, 7))),
        **{f"topology.{line}": torch.tensor([[0, 1], [1, 2], [2, 0]], dtype=torch.int32) for line in LINES},
    }
