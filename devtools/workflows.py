"""Makes the UI-format workflow beside every API twin: ``python -m devtools.workflows [twin.json ...]``.

The page itself places the nodes, writes the UI file, rewrites the twin as the prompt that it would send, and is
photographed for the thumbnail that the template dialog shows.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import uuid
from pathlib import Path

from PIL import Image

from .client import Json
from .page import Canvas, open_browser
from .places import MODELS, OWN_HOST
from .server import HostServer
from .setup import base_folder
from .shell import ROOT

try:
    import tomllib
except ModuleNotFoundError:
    import tomli as tomllib

FOLDERS = (ROOT / "workflows", ROOT / "demo" / "host_nodes" / "workflows")  # of the pack, and of its demo
THUMBNAIL_SIZE_PX = (512, 288)
LAYOUT = (Path(__file__).parent / "layout.js").read_text(encoding="utf-8")

log = logging.getLogger("workflows")


def facts(node: Json) -> Json:
    """What an API prompt says of a node, by name: its type, its title and its inputs."""
    inputs = {f"input {name}": value for name, value in node["inputs"].items()}
    return {"class_type": node["class_type"], "title": node.get("_meta", {}).get("title"), **inputs}


def changes(before: Json, after: Json) -> list[str]:
    """What differs between two API prompts, one line each."""
    lines = [f"node {id} is gone" for id in before if id not in after]
    for id, node in after.items():
        old, new = facts(before[id]) if id in before else {}, facts(node)
        names = [name for name in {**old, **new} if name not in old or name not in new or old[name] != new[name]]
        lines += [f"{id} {node['class_type']}, {name}: {old.get(name)!r} -> {new.get(name)!r}" for name in names]
    return lines


def update(canvas: Canvas, twin: Path) -> None:
    """Writes the UI file, the twin and the thumbnail from what the page makes of the twin."""
    content = json.loads(twin.read_text(encoding="utf-8"))
    target = twin.parent.parent / twin.name
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    canvas.drop(twin.name, content)
    unknown = [node["type"] for node in canvas.nodes() if not node["known"]]
    if unknown:
        raise SystemExit(f"{twin.name}: the host has no {', '.join(unknown)}")
    about = {"packFolder": "custom_nodes.WanCast", "registryName": project["name"], "version": project["version"]}
    canvas.page.evaluate(LAYOUT, about)
    picture = canvas.screenshot(ROOT / "test_out" / "ui" / f"{twin.stem}.png", only_canvas=True)
    shown = canvas.page.evaluate("() => app.graphToPrompt()")
    for line in changes(content, shown["output"]):
        log.info("%s: %s", twin.name, line)
    workflow = {**shown["workflow"], "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"wancast/{twin.stem}"))}
    write_json(target, workflow)
    write_json(twin, shown["output"])
    with Image.open(picture) as image:
        small = image.convert("RGB").resize(THUMBNAIL_SIZE_PX, Image.Resampling.LANCZOS)
    small.save(target.with_suffix(".jpg"), quality=88)
    log.info("%s: %d nodes", target.name, len(workflow["nodes"]))


def write_json(path: Path, content: Json) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("twins", nargs="*", help="API-format files; all of them when none is named")
    parser.add_argument("--url", help="a host that is up already, instead of one of our own")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    every = [path for folder in FOLDERS for path in sorted(folder.glob("api/*.json"))]
    twins = [Path(name).resolve() for name in arguments.twins] or every
    if arguments.url:
        update_all(arguments.url, twins)
        return
    host, models = os.environ.get("WANCAST_HOST", OWN_HOST), os.environ.get("WANCAST_MODELS", MODELS)
    with HostServer(sys.executable, host, base_folder("workflows"), models_dir=models) as server:
        update_all(server.url, twins)


def update_all(url: str, twins: list[Path]) -> None:
    with open_browser() as browser:
        canvas = Canvas.opened(browser, url)
        for twin in twins:
            update(canvas, twin)


if __name__ == "__main__":
    main()
