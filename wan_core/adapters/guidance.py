"""Guidance towards an identity, apart from guidance towards the text (Lynx, arXiv 2509.15496).

Of three predictions, u (negative text, null identity), i (negative text, identity) and c (positive text, identity),
Lynx takes u + g_i * (i - u) + g_t * (c - i). Plain guidance has made u + g_t * (c - u) of two of them; what is missing
is (g_i - g_t) * (i - u).
"""

from __future__ import annotations

from torch import Tensor


def with_identity_guidance(guided: Tensor, u: Tensor, i: Tensor, *, text_scale: float, identity_scale: float) -> Tensor:
    """Plain guidance turned into Lynx's; all of one shape."""
    return guided + (identity_scale - text_scale) * (i - u)
