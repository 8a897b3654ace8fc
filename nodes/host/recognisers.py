"""The recognisers that a user can select: of the IR family, an iResNet as .onnx, the one of a pack, or none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from ...wan_core.errors import InputError, quoted
from ...wan_core.identity import FaceSource, Recogniser, WholePicture, ir_recogniser, iresnet_recogniser
from ...wan_core.identity.recogniser_file import normalisation_of, require_recogniser
from . import devices, files, onnx_file, onnx_network
from .insightface_pack import InsightfacePack

OF_THE_PACK, NO_RECOGNISER = "recogniser of the insightface pack", "none (for Stand-In)"


def recogniser_of(encoder: str, source: FaceSource) -> AbstractContextManager[Recogniser] | None:
    """The recogniser that was selected, to be loaded for a block; None where there is nothing to recognise or to do it.

    Raises InputError for a pack's recogniser without a pack.
    """
    if encoder == NO_RECOGNISER or isinstance(source, WholePicture):
        return None
    if encoder != OF_THE_PACK:
        return _onnx_recogniser(encoder) if encoder.lower().endswith(files.ONNX) else _ir_recogniser(encoder)
    if isinstance(source, InsightfacePack):
        return source.recogniser()
    raise InputError(
        "encoder",
        found=f"{quoted(encoder)} with face {quoted(source.label)}",
        wanted="face 'insightface pack' with it",
        fix=f"Choose 'insightface pack' in face, or here a file of models/{files.FACE_RECOGNITION}, or "
        f"{NO_RECOGNISER!r}.",
    )


@contextmanager
def _ir_recogniser(name: str) -> Iterator[Recogniser]:
    file = files.load_weights(files.FACE_RECOGNITION, name, input_name="encoder")
    place = {"operations": devices.operations, "on_device": devices.on_device}
    with ir_recogniser(file.state_dict, name=file.name, sha256=file.sha256, **place) as recogniser:
        yield recogniser


@contextmanager
def _onnx_recogniser(name: str) -> Iterator[Recogniser]:
    path = files.checked_path(files.FACE_RECOGNITION, name, input_name="encoder")
    params = onnx_file.read_params(path, input_name="encoder")
    require_recogniser(params, name)
    run = onnx_network.runner(onnx_network.BoundedSession(path, input_name="encoder"), name)
    yield iresnet_recogniser(run, normalisation_of(params), name=name, sha256=files.file_sha256(path))
