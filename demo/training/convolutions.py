"""Convolutions with batch normalisation and ReLU, and the nodes of ONNX that compute the same."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from demo.miniature.face_onnx import Graph


def conv(inputs: int, outputs: int, *, side: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution with batch normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def folded(network: nn.Module) -> dict[str, Tensor]:
    """Weights and biases of all layers, fp16, with the normalisation behind each convolution in them."""
    found: dict[str, Tensor] = {}
    for key, layer in network.named_modules():
        if isinstance(layer, nn.Sequential) and isinstance(layer[0], nn.Conv2d):
            whole = fuse_conv_bn_eval(layer[0], layer[1])
            found |= {f"{key}.weight": whole.weight, f"{key}.bias": whole.bias}
        elif isinstance(layer, (nn.Conv2d, nn.Linear)) and layer.bias is not None:
            found |= {f"{key}.weight": layer.weight, f"{key}.bias": layer.bias}
    return {key: value.detach().half() for key, value in found.items()}


def chain(graph: Graph, key: str, x: str, layers: nn.Sequential) -> str:
    """The nodes of one ``conv`` or of several in a row, which the network calls ``key``."""
    if not isinstance(layers[0], nn.Conv2d):
        for number, layer in enumerate(layers):
            x = chain(graph, f"{key}.{number}", x, layer)
        return x
    side, stride = layers[0].kernel_size[0], layers[0].stride[0]
    sizes = {"kernel_shape": [side, side], "strides": [stride, stride], "pads": [side // 2] * 4}
    return graph.add("Relu", graph.add("Conv", x, f"{key}.weight", f"{key}.bias", **sizes))
