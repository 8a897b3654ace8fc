"""What the trained miniature cast shows: likeness, freedom of the prompt, experts, episodes, two people.

Usage: python dev.py bench cast [-- --part likeness experts --out OUT]. All parts take about 25 minutes of two cores.
What was made stays in OUT, and a call that was cut off is repeated: only what is missing is made; what other weights,
another world or other settings made is left aside. Tables are printed, and written as OUT/PART/results.md.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from devtools.places import MODELS  # noqa: E402
from tests.bench.cast.episodes import report_chains, report_episodes  # noqa: E402
from tests.bench.cast.experts import report_boundaries, report_experts  # noqa: E402
from tests.bench.cast.jobs import Archive, Company, JobFailed  # noqa: E402
from tests.bench.cast.likeness import PEOPLE, report_likeness, report_prompts  # noqa: E402
from tests.bench.cast.page import Page  # noqa: E402
from tests.bench.cast.pairs import report_pairs, report_saved, report_strength  # noqa: E402
from tests.bench.workbench import parser, say  # noqa: E402

PARTS = {  # name -> title, what makes the page, and how many people, pairs, episodes or groups of clips
    "likeness": ("Likeness of test identities", report_likeness, PEOPLE),
    "prompts": ("The prompt beside the lock", report_prompts, PEOPLE),
    "experts": ("Two experts or one model", report_experts, 8),
    "boundaries": ("Films at other boundaries", report_boundaries, 10),
    "episodes": ("Episodes of twelve shots", report_episodes, 8),
    "chains": ("Image to video in a chain", report_chains, 8),
    "pairs": ("Two people", report_pairs, 12),
    "strength": ("The strength of the lock", report_strength, 8),
    "saved": ("Saved and loaded", report_saved, 3),
}


def main() -> None:
    """Prints the pages of the parts that were asked for."""
    asked = parser(__doc__)
    asked.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS), help="default: all")
    asked.add_argument("--models", type=Path, default=MODELS, help="the host's models folder with the cast's files")
    asked.add_argument("--out", type=Path, default=ROOT / "test_out" / "cast", help="folder for films and results")
    asked.add_argument("--processes", type=int, default=2, help="each of one thread")
    asked.add_argument("--most", type=int, help="people or pairs at most, to see that it runs")
    options = asked.parse_args()
    company = Company(Archive(options.out / "made", options.models), options.processes)
    torch.set_num_threads(options.processes)
    for name in options.part:
        title, report, count = PARTS[name]
        start_s, page = time.perf_counter(), Page(options.out / name, title)
        page.folder.mkdir(parents=True, exist_ok=True)
        try:
            report(company, page, min(count, options.most or count))
        except JobFailed as failed:
            company.pool.shutdown(cancel_futures=True)
            sys.exit(str(failed))
        say(f"{page.close()}({name}: {time.perf_counter() - start_s:.0f} s)\n")


if __name__ == "__main__":
    main()
