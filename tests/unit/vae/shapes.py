"""The names and shapes of the Wan VAEs' weights, as their files have them."""

from __future__ import annotations

Shapes = dict[str, tuple[int, ...]]


def residual(name: str, c_in: int, c_out: int) -> Shapes:
    """The weights of a residual block."""
    shortcut = {f"{name}.shortcut.weight": (c_out, c_in, 1, 1, 1)} if c_in != c_out else {}
    return {
        f"{name}.residual.0.gamma": (c_in, 1, 1, 1),
        f"{name}.residual.2.weight": (c_out, c_in, 3, 3, 3),
        f"{name}.residual.2.bias": (c_out,),
        f"{name}.residual.6.weight": (c_out, c_out, 3, 3, 3),
        **shortcut,
    }


def upsampling(name: str, c_in: int, c_out: int, *, time: bool) -> Shapes:
    """The weights of an upsampling of the sides, and of the frames as well."""
    time_conv = {f"{name}.time_conv.weight": (2 * c_in, c_in, 3, 1, 1)} if time else {}
    return {f"{name}.resample.1.weight": (c_out, c_in, 3, 3), **time_conv}


def around_the_stages(*, z: int, width: int, last: int, head: int) -> Shapes:
    """The weights of a decoder outside of its stages, and some that must not mislead."""
    return {
        "encoder.conv1.weight": (last, 3, 3, 3, 3),
        "encoder.downsamples.5.resample.1.weight": (last, last, 3, 3),
        "encoder.downsamples.5.time_conv.weight": (last, last, 3, 1, 1),
        "conv2.weight": (z, z, 1, 1, 1),
        "conv2.bias": (z,),
        "decoder.conv1.weight": (width, z, 3, 3, 3),
        **residual("decoder.middle.0", width, width),
        "decoder.middle.1.norm.gamma": (width, 1, 1),
        "decoder.middle.1.to_qkv.weight": (3 * width, width, 1, 1),
        **residual("decoder.middle.2", width, width),
        "decoder.head.0.gamma": (last, 1, 1, 1),
        "decoder.head.2.weight": (head, last, 3, 3, 3),
    }


def wan21_shapes(*, z: int = 16, dim: int = 96, head: int = 3) -> Shapes:
    """The decoder's weights of a Wan2.1 VAE of this width, as its modules lie in one flat list."""
    shapes = around_the_stages(z=z, width=4 * dim, last=dim, head=head)
    stages = [(4, 4, 2, True), (2, 4, 2, True), (2, 2, 1, False), (1, 1, 0, False)]  # in, out, upsampled; times dim
    place = 0
    for c_in, c_out, up, time in stages:
        for channels in (c_in, c_out, c_out):
            shapes |= residual(f"decoder.upsamples.{place}", channels * dim, c_out * dim)
            place += 1
        if up:
            shapes |= upsampling(f"decoder.upsamples.{place}", c_out * dim, up * dim, time=time)
            place += 1
    return shapes


def wan22_shapes(*, z: int = 48, dim: int = 256, head: int = 12) -> Shapes:
    """The decoder's weights of a Wan2.2 VAE of this width, as each of its stages is a module."""
    shapes = around_the_stages(z=z, width=4 * dim, last=dim, head=head)
    stages = [(4, 4, True), (4, 4, True), (4, 2, False), (2, 1, None)]  # in, out; times dim
    for place, (c_in, c_out, time) in enumerate(stages):
        name = f"decoder.upsamples.{place}.upsamples"
        for block, channels in enumerate((c_in, c_out, c_out)):
            shapes |= residual(f"{name}.{block}", channels * dim, c_out * dim)
        if time is not None:
            shapes |= upsampling(f"{name}.3", c_out * dim, c_out * dim, time=time)
    return shapes
