"""The pack in hosts that lack an optional package, or have one that cannot be used."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import onnx
import pytest

from devtools.server import HostServer
from tests.host import recipes
from tests.host.live import ROOT, Client, Graph, prepare_base
from tests.host.recipes import NODES

PACKAGES = ("insightface", "onnxruntime", "librosa")


def raising(package: str) -> str:
    """A module that fails as one that is not installed."""
    return f'raise ModuleNotFoundError("No module named {package}", name={package!r})'


@pytest.fixture(scope="module")
def hosts(
    host_dir: Path, models_dir: Path, tmp_path_factory: pytest.TempPathFactory, boots: list[HostServer]
) -> Iterator[dict[str, HostServer]]:
    """One host for each package, in which importing it fails; started side by side."""
    servers = {}
    for package in PACKAGES:
        folder = tmp_path_factory.mktemp(f"without_{package}")
        hidden = folder / "hidden"
        hidden.mkdir()
        (hidden / f"{package}.py").write_text(f"{raising(package)}\n", encoding="ascii")
        base = prepare_base(folder / "base", models_dir)
        servers[package] = HostServer(sys.executable, host_dir, base, extra_env={"PYTHONPATH": str(hidden)})
    try:
        with ThreadPoolExecutor(len(servers)) as pool:
            boots += pool.map(HostServer.start, servers.values())
        yield servers
    finally:
        for server in servers.values():
            server.stop()


@pytest.mark.parametrize("package", PACKAGES)
def test_all_nodes_are_there_where_the_package_cannot_be_imported(hosts: dict[str, HostServer], package: str) -> None:
    server = hosts[package]
    command = [server.python, "-c", f"import {package}"]
    child = subprocess.run(command, env=server.env, cwd=server.base_dir, capture_output=True, text=True, check=False)
    assert f"ModuleNotFoundError: No module named {package}" in child.stderr
    info = Client(server.url).get("/object_info")
    assert {node for node, about in info.items() if about["python_module"] == "custom_nodes.WanCast"} == set(NODES)


def test_audio_features_names_the_missing_package_and_the_next_prompt_runs(hosts: dict[str, HostServer]) -> None:
    client = Client(hosts["librosa"].url)
    graph = Graph()
    graph.save(recipes.audio_features(graph))
    failure = client.fails(graph)
    assert failure.node_type == "AudioFeatures"
    assert failure.message.startswith("AudioFeatures: audio needs the Python package 'librosa'.")
    assert failure.message.endswith("pip install librosa")

    graph = Graph()
    graph.save(recipes.decoded(graph))
    client.run(graph)


# What is used where a package or a file is not there

SAID = {  # by what is in the place of a package
    "insightface": (
        raising("insightface"),
        "an insightface pack needs the Python package 'insightface'. Install it with: pip install",
    ),
    "onnxruntime": ("raise SystemExit(1)", "an insightface pack needs the Python package 'onnxruntime', which is "),
    "onnx": ("__version__ = '0.1'", "an .onnx file needs the Python package 'onnx', which is installed ("),
}


def printed(code: str, folder: Path, host_dir: Path, models_dir: Path) -> str:
    """What the node's own code prints in a child process, beside modules in a folder."""
    (folder / "wancast").symlink_to(ROOT)
    start = f"""
import sys
sys.path[:0] = [{str(folder)!r}, {str(host_dir)!r}]
sys.argv = ["main.py", "--cpu", "--models-directory", {str(models_dir)!r}]
import comfy.options
comfy.options.enable_args_parsing()
import folder_paths
folder_paths.models_dir = {str(models_dir)!r}
from wancast.nodes.host import faces, insightface_pack, onnx_file, onnx_network
selection = faces.FaceSelection()
"""
    child = subprocess.run(
        [sys.executable, "-c", start + code], capture_output=True, text=True, check=False, cwd=folder
    )
    assert child.returncode == 0, child.stderr
    return child.stdout


@pytest.mark.parametrize("package", SAID)
def test_a_package_that_cannot_be_used_is_named(host_dir: Path, models_dir: Path, tmp_path: Path, package: str) -> None:
    content, said = SAID[package]
    (tmp_path / f"{package}.py").write_text(f"{content}\n", encoding="ascii")
    code = """
try:
    insightface_pack.InsightfacePack("mini_pack", selection, with_recogniser=True).networks
except RuntimeError as error:
    print("SAID:", error)
"""
    assert f"SAID: {said}" in printed(code, tmp_path, host_dir, models_dir)


def test_auto_takes_the_landmarker_without_a_pack_and_says_what_to_get_without_both(
    host_dir: Path, models_dir: Path, tmp_path: Path
) -> None:
    code = """
faces.packs = dict
print(faces.face_source({"face": "auto"}, selection, with_recogniser=False).label)
faces.files.model_files = lambda folder: ["yolo.safetensors"]
try:
    faces.face_source({"face": "auto"}, selection, with_recogniser=False)
except ValueError as error:
    print(error)
"""
    source, message = printed(code, tmp_path, host_dir, models_dir).splitlines()[-2:]
    assert source == "mediapipe mini_landmarker.safetensors, largest"
    assert message.startswith(
        "face: found neither an insightface pack nor ComfyUI's MediaPipe face landmarker; wanted "
    )
    assert "mediapipe_face_fp32.safetensors" in message and "buffalo_l" in message


def test_every_network_of_a_pack_is_looked_into_once_and_every_run_of_one_can_be_ended(
    host_dir: Path, models_dir: Path, tmp_path: Path
) -> None:
    """With a detector for pictures of any size, as the published ones are; insightface may want a session for each."""
    models = tmp_path / "models"
    shutil.copytree(models_dir / "insightface", models / "insightface")
    detector = models / "insightface" / "models" / "mini_pack" / "det_mini.onnx"
    model = onnx.load(detector)
    for axis, size in enumerate(model.graph.input[0].type.tensor_type.shape.dim):
        size.dim_param = f"axis {axis}"
    onnx.save(model, detector)
    code = """
import contextlib, onnxruntime, torch
from wancast.wan_core.identity.images import read_pictures
looked, ended, infer, run = [], [], onnx_file._sizes, onnxruntime.InferenceSession.run
def watched(session, names, inputs, options=None):
    ended.append(options is not None)
    return run(session, names, inputs, options)
onnxruntime.InferenceSession.run = watched
onnx_file._sizes = lambda *model: looked.append(1) or infer(*model)
pack = insightface_pack.InsightfacePack("mini_pack", selection, with_recogniser=True)
with contextlib.suppress(ValueError):  # no face
    pack.find(read_pictures(torch.zeros(1, 512, 512, 3)), lambda done: None)
with pack.recogniser() as recogniser:
    recogniser.embed_face(torch.zeros(112, 112, 3))
print(len(looked), ended)
"""
    assert printed(code, tmp_path, host_dir, models).splitlines()[-1] == "3 [True, True]"


def test_onnxruntime_runs_where_the_host_does_within_bounds_and_says_when_it_cannot(
    host_dir: Path, models_dir: Path, tmp_path: Path
) -> None:
    code = """
import onnxruntime, torch
onnx_network.log.warning = lambda text: print("SAID", text.split(",")[0])
for device, hip, build in (("cpu", None, "CUDA"), ("mps", None, ""), ("cuda", None, "CUDA"), ("cuda", "6.4", "CUDA"),
                           ("cuda", None, "Azure")):
    onnx_network.comfy.model_management.get_torch_device = lambda: torch.device(device)
    torch.version.hip = hip  # of AMD, for which the build is not
    onnxruntime.get_available_providers = lambda: [f"{build}ExecutionProvider", "CPUExecutionProvider"]
    print([(name.removesuffix("ExecutionProvider"), *options.values()) for name, options in onnx_network.providers()])
"""
    cpu, gpu = "[('CPU',)]", "[('CUDA', '2147483648', 'kSameAsRequested'), ('CPU',)]"
    said = "SAID IdentityEncode: onnxruntime has no CUDA provider"
    assert printed(code, tmp_path, host_dir, models_dir).splitlines()[-6:] == [cpu, cpu, gpu, cpu, said, cpu]
