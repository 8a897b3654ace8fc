"""The main job on real input: one portrait and one voice through all six nodes, as two shots of one character.

Usage: python demo/run.py --host http://127.0.0.1:8188 --out demo_out
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from PIL import Image  # noqa: E402

from demo import workflow  # noqa: E402
from demo.contact_sheet import Row, contact_sheet, evenly, film_frames  # noqa: E402
from devtools import client  # noqa: E402

TIMEOUT_S = 900
FRAMES_A_ROW = 8
NOTICE = (
    "The networks of this demo are random and tiny: the pictures are noise and the scores mean nothing. "
    "What is real is the path: every node, file format, size and number is computed as with the full weights."
)


def say(line: str) -> None:
    """Writes one line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def run(url: str, out: Path) -> list[Path]:
    """Runs the demo on the host at ``url`` and returns the files it left in ``out``."""
    portrait, speech = ROOT / "tests" / "data" / "portrait.png", ROOT / "tests" / "data" / "speech.wav"
    for path in (portrait, speech):
        client.upload_image(url, path)
    prompt = workflow.miniature(workflow.shipped_workflow())
    started_s = time.monotonic()
    entry = client.wait(url, client.submit(url, prompt), TIMEOUT_S)
    wall_s = time.monotonic() - started_s

    results = {prompt[node_id]["_meta"]["title"]: result for node_id, result in entry["outputs"].items()}
    first_shot = next(n["inputs"]["length"] for n in prompt.values() if n["class_type"] == "EmptyHunyuanLatentVideo")
    out.mkdir(parents=True, exist_ok=True)
    film, sheet, report = out / "film.mp4", out / "contact_sheet.png", out / "report.json"
    film.write_bytes(client.view(url, results["Save the film"]["images"][0]))
    pictures = {
        title: Image.open(io.BytesIO(client.view(url, results[title]["images"][0])))
        for title in ("Aligned face", "Schedule", "Sound", "Lip-sync")
    }
    sheet_of(Image.open(portrait), pictures, film_frames(film), first_shot).save(sheet)
    report.write_text(json.dumps(report_of(results, film, wall_s), indent=2) + "\n", encoding="utf-8")
    return [film, sheet, report]


def sheet_of(
    portrait: Image.Image, pictures: Mapping[str, Image.Image], frames: list[Image.Image], first_shot: int
) -> Image.Image:
    """The contact sheet of the two shots."""
    return contact_sheet(
        [
            Row("Portrait, and the crop that the recogniser sees", [portrait, pictures["Aligned face"]], 224),
            Row("Shot 1: both experts, one run", evenly(frames[:first_shot], FRAMES_A_ROW), 150),
            Row("Shot 2: driven by speech", evenly(frames[first_shot:], FRAMES_A_ROW), 150),
            Row("Schedule of shot 1", [pictures["Schedule"]], 360),
            Row("Sound of shot 2", [pictures["Sound"]], 360),
            Row("Lip-sync of shot 2", [pictures["Lip-sync"]], 360),
        ]
    )


def report_of(results: dict[str, Any], film: Path, wall_s: float) -> dict[str, Any]:
    """The nodes' own reports, with the size of the film and the time it took."""
    frames = film_frames(film)
    reports = {title: result["text"][0].splitlines() for title, result in results.items() if title.endswith("report")}
    size = {"frames": len(frames), "width_px": frames[0].width, "height_px": frames[0].height}
    return {"notice": NOTICE, "wall_s": round(wall_s, 2), "film": size, "reports": reports}


def main() -> int:
    """Runs the demo and prints what it left."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", required=True, help="URL of a running host with the pack and the miniature networks")
    parser.add_argument("--out", type=Path, default=Path("demo_out"), help="folder for the results")
    arguments = parser.parse_args()
    try:
        files = run(arguments.host, arguments.out)
    except (client.PromptFailed, TimeoutError, OSError) as error:
        say(f"The demo failed: {error}")
        return 1
    report = json.loads(files[-1].read_text(encoding="utf-8"))
    for title, lines in report["reports"].items():
        say(f"\n{title}")
        for line in lines:
            say(f"  {line}")
    say(f"\n{NOTICE}\n")
    for path in files:
        say(str(path.resolve()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
