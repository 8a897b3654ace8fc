"""One actor, three shots, with and without the lock, on a live host; a film, a contact sheet and a page show them.

Usage: python demo/run.py --host http://127.0.0.1:8188 --out demo_out
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from PIL import Image  # noqa: E402

from demo import workflow  # noqa: E402
from demo.page import leave  # noqa: E402
from demo.takes import Rushes, Shot, Take  # noqa: E402
from devtools import client  # noqa: E402

ACTOR = Path(__file__).parent / "inputs" / "actor.png"
TIMEOUT_S = 900


def say(line: str) -> None:
    """Writes one line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@dataclass(frozen=True, slots=True)
class Results:
    """What a prompt left on a host."""

    url: str
    outputs: Mapping[str, Any]  # by the id of the node

    def text(self, node_id: str) -> str:
        """What a node says."""
        return self.outputs[node_id]["text"][0]

    def pictures(self, node_id: str) -> tuple[Image.Image, ...]:
        """What a node shows, in RGB."""
        files = (client.view(self.url, file) for file in self.outputs[node_id]["images"])
        return tuple(Image.open(io.BytesIO(file)).convert("RGB") for file in files)

    def take(self, probe: workflow.Probe) -> Take:
        """One clip as its probe saw it."""
        likeness = self.text(probe.likeness)
        return Take(
            frames=self.pictures(probe.frames),
            likeness=None if likeness == "None" else float(likeness),
            found=float(self.text(probe.found)),
        )


def run(url: str) -> Rushes:
    """Runs the comparison on the host at ``url``, and looks at each of its clips alone."""
    prompt = workflow.CAST.of(workflow.shipped_workflow(workflow.COMPARISON))
    nodes = {node["_meta"]["title"]: node_id for node_id, node in prompt.items()}
    checks = (nodes[workflow.LOCKED], nodes[workflow.UNLOCKED])
    probed, locked = workflow.probe_clips(prompt, checks[0])
    probed, unlocked = workflow.probe_clips(probed, checks[1])
    client.upload_image(url, ACTOR)
    started_s = time.monotonic()
    results = Results(url, client.wait(url, client.submit(url, probed), TIMEOUT_S)["outputs"])
    wall_s = time.monotonic() - started_s

    charts, faces = zip(*map(results.pictures, checks), strict=True)
    (schedule,) = results.pictures(nodes["Schedule"])
    reports = ("Likeness, locked", "Likeness, not locked", "Sampling report")
    return Rushes(
        portrait=Image.open(ACTOR).convert("RGB"),
        shots=tuple(
            Shot(one.text, results.take(one), results.take(other)) for one, other in zip(locked, unlocked, strict=True)
        ),
        charts=charts,
        faces=faces,
        schedule=schedule,
        reports={title: results.text(nodes[title]) for title in reports},
        wall_s=wall_s,
    )


def main() -> int:
    """Runs the demo and says what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", required=True, help="URL of a running host with the pack and the miniature networks")
    parser.add_argument("--out", type=Path, default=Path("demo_out"), help="folder for the results")
    arguments = parser.parse_args()
    try:
        rushes = run(arguments.host)
    except (client.PromptFailed, TimeoutError, OSError) as error:
        say(f"The demo failed: {error}")
        return 1
    page = leave(rushes, arguments.out)
    for shot in rushes.shots:
        say(f"\n{shot.prompt}")
        for name, take in (("locked", shot.locked), ("not locked", shot.unlocked)):
            say(f"  {name}: likeness {take.likeness_text}, {take.faces_text}")
    say(f"\nFilmed in {rushes.wall_s:.0f} s. Open this page in a browser:\n{page.resolve().as_uri()}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
