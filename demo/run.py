"""One actor, three shots, with and without the lock, on a live host: a film, a contact sheet and a page that shows them.

Usage: python demo/run.py --host http://127.0.0.1:8188 --out demo_out
"""

from __future__ import annotations

import argparse
import io
import json
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
from demo.contact_sheet import contact_sheet  # noqa: E402
from demo.film import write_film  # noqa: E402
from demo.page import page  # noqa: E402
from demo.takes import Shot, Take  # noqa: E402
from devtools import client  # noqa: E402

INPUTS = Path(__file__).parent / "inputs"
TIMEOUT_S = 900
TEMPLATE = f"{workflow.COMPARISON} (miniature)"  # of demo/host_nodes


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


def run(url: str, out: Path) -> Path:
    """Runs the comparison on the host at ``url``, leaves everything in ``out`` and returns the page."""
    prompt = workflow.CAST.of(workflow.shipped_workflow(workflow.COMPARISON))
    locked, unlocked = (workflow.titled(prompt, title) for title in (workflow.LOCKED, workflow.UNLOCKED))
    probed, locked_probes = workflow.probe_clips(prompt, locked)
    probed, unlocked_probes = workflow.probe_clips(probed, unlocked)
    for path in INPUTS.iterdir():
        client.upload_image(url, path)
    started_s = time.monotonic()
    results = Results(url, client.wait(url, client.submit(url, probed), TIMEOUT_S)["outputs"])
    wall_s = time.monotonic() - started_s

    pairs = zip(locked_probes, unlocked_probes, strict=True)
    shots = [Shot(one.text, results.take(one), results.take(other)) for one, other in pairs]
    reports = {
        title: results.text(workflow.titled(prompt, title)).splitlines()
        for title in ("Likeness, locked", "Likeness, not locked", "Sampling report")
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, check in (("locked", locked), ("not_locked", unlocked)):
        chart, faces = results.pictures(check)
        chart.save(out / f"likeness_{name}.png")
        faces.save(out / f"faces_{name}.png")
    results.pictures(workflow.titled(prompt, "Schedule"))[0].save(out / "schedule.png")
    contact_sheet(Image.open(INPUTS / "actor.png"), shots).save(out / "contact_sheet.png")
    write_film(shots, out / "film.mp4")
    (out / "report.json").write_text(json.dumps(report_of(shots, reports, wall_s), indent=2) + "\n", encoding="utf-8")
    (out / "index.html").write_text(page(shots, reports, template=TEMPLATE, wall_s=wall_s), encoding="utf-8")
    return out / "index.html"


def report_of(shots: list[Shot], reports: Mapping[str, list[str]], wall_s: float) -> dict[str, Any]:
    """All numbers, and the nodes' own reports."""
    takes = [
        {"prompt": shot.prompt, "locked": numbers_of(shot.locked), "not_locked": numbers_of(shot.unlocked)}
        for shot in shots
    ]
    return {"wall_s": round(wall_s, 2), "shots": takes, "reports": reports}


def numbers_of(take: Take) -> dict[str, float | None]:
    return {"likeness": take.likeness, "face_found": take.found, "frames": len(take.frames)}


def main() -> int:
    """Runs the demo and says what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", required=True, help="URL of a running host with the pack and the miniature networks")
    parser.add_argument("--out", type=Path, default=Path("demo_out"), help="folder for the results")
    arguments = parser.parse_args()
    try:
        index = run(arguments.host, arguments.out)
    except (client.PromptFailed, TimeoutError, OSError) as error:
        say(f"The demo failed: {error}")
        return 1
    report = json.loads((index.parent / "report.json").read_text(encoding="utf-8"))
    say("likeness to the portrait   locked   not locked")
    for shot in report["shots"]:
        say(f"{shot['prompt']}: {shot['locked']['likeness']}, {shot['not_locked']['likeness']}")
    say(f"\n{report['wall_s']} s. Open this in a browser:\n{index.resolve().as_uri()}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
