"""Everything for developers in one command: demo, test, serve, bench, doctor. The first call sets everything up.

Standard library only, Python 3.10 or newer, Linux, macOS and Windows. What it makes lies in .venv, .host and .cache;
deleting them undoes it. COMFYUI_PATH names a ComfyUI to use instead of the one it would bring.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import BinaryIO, NoReturn

if sys.version_info < (3, 10):  # noqa: UP036 - the sentence for those whose python is older
    sys.exit(f"dev.py needs Python 3.10 or newer; this is {sys.version.split()[0]}.")

ROOT = Path(os.path.abspath(__file__)).parent
sys.path.insert(0, str(ROOT))

from devtools.doctor import doctor  # noqa: E402
from devtools.server import HostFailed, HostServer, torch_finds_cuda  # noqa: E402
from devtools.setup import Ready, base_folder, set_up  # noqa: E402
from devtools.shell import Problem, forget_users_python, say  # noqa: E402


@dataclass(frozen=True)
class Tier:
    """Tests that run together."""

    folders: tuple[str, ...]  # of tests/
    arguments: tuple[str, ...] = ()  # of pytest
    environment: Mapping[str, str] = field(default_factory=dict)  # what the user has set himself wins


TIERS = {
    "unit": Tier(("unit",)),
    "host": Tier(("host",)),
    "ui": Tier(("ui",)),
    "hard": Tier(("hard",), environment={"WANCAST_HARD_PERCENT": "100"}),
    "gpu": Tier(("gpu", "unit"), ("-m", "gpu"), {"WANCAST_GPU_TIER": "cuda"}),  # cpu is the dry run
}
LIVE = Tier(("host", "ui", "hard"))  # of the hard tier a slice
ASIDE = Tier(("unit",), environment={"OMP_NUM_THREADS": "1"})  # on one core, while those that are live wait for hosts
NO_TEST_MEANT = 5  # pytest's exit code where nothing of a folder was asked for
NOTHING_RAN = 77  # the exit code of a tier of which every test was skipped, as automake has it
CHECKS = {  # run beside the tests, each whatever became of the others
    "ruff check": ["-m", "ruff", "check", ROOT],
    "ruff format": ["-m", "ruff", "format", "--check", ROOT],
    "mypy": ["-m", "mypy"],
    "import-linter": ["-m", "devtools.import_rules"],
}
BENCHES = ROOT / "tests" / "bench"


# Commands; each returns the exit code


def demo(options: argparse.Namespace) -> int:
    """Runs the main job on real input with miniature networks on a live host; the results lie in demo_out."""
    ready = set_up(models=True)
    with host(ready, "demo") as server:
        say(f"Host: {server.url}")
        return run(ready, [ROOT / "demo" / "run.py", "--host", server.url, "--out", ROOT / "demo_out", *options.rest])


def test(options: argparse.Namespace) -> int:
    """Runs one tier of tests; without one ruff, mypy, import-linter, all tiers but gpu, and of hard a slice.

    What follows -- goes to pytest. Exit code 77: every test was skipped, as all of gpu are without a CUDA device.
    """
    ready = set_up(models=options.tier != "unit", judge=options.tier in (None, "unit"))
    if options.tier:
        tier = TIERS[options.tier]
        results = {"pytest": run(ready, pytest_of(tier, options.rest), tier.environment)}
    else:
        results = run_everything(ready, options.rest)
    failed = [name for name, result in results.items() if result not in (0, NOTHING_RAN)]
    if NOTHING_RAN in results.values():
        say("Nothing ran: every test was skipped, for the reasons above; none of them counts as passed.")
    if failed:
        say(f"Failed: {', '.join(failed)}.")
    return len(failed) or max(results.values())


def run_everything(ready: Ready, rest: Sequence[str]) -> dict[str, int]:
    """Runs the live tiers on the terminal, the checks and the unit tests aside; exit codes by name.

    What is said aside follows when all has ended.
    """
    with tempfile.TemporaryFile() as said, ThreadPoolExecutor(1) as pool:
        aside = {**CHECKS, "unit tests": pytest_of(ASIDE, rest)}
        jobs = {name: pool.submit(run, ready, what, ASIDE.environment, said) for name, what in aside.items()}
        live = run(ready, pytest_of(LIVE, rest))
        results = {name: job.result() for name, job in jobs.items()} | {"live tests": live}
        said.seek(0)
        say(said.read().decode(errors="replace"))
    for half, other in (("unit tests", "live tests"), ("live tests", "unit tests")):
        if results[half] in (NO_TEST_MEANT, NOTHING_RAN) and results[other] not in (NO_TEST_MEANT, NOTHING_RAN):
            results[half] = 0
    return results


def pytest_of(tier: Tier, rest: Sequence[str]) -> list[str | Path]:
    """What Python is to run for a tier."""
    return ["-m", "pytest", *(ROOT / "tests" / folder for folder in tier.folders), *tier.arguments, *rest]


def serve(options: argparse.Namespace) -> int:
    """Runs a host with the pack until Ctrl+C; its templates offer the demo, whose models and inputs are in place."""
    ready = set_up(models=True)
    say("Starting the host ...")
    with host(ready, "serve", options.port) as server:
        say(f"{server.url}\nLog: {server.log_path}\nCtrl+C ends it.")
        try:
            while True:
                server.check_alive()
                time.sleep(0.5)
        except KeyboardInterrupt:
            say("\nStopped.")
    return 0


def bench(options: argparse.Namespace) -> int:
    """Runs one benchmark of tests/bench by its name, or all of them."""
    scripts = sorted(BENCHES.glob("bench_*.py"))
    if options.name:
        wanted = "bench_" + options.name.removeprefix("bench_").removesuffix(".py")
        scripts = [script for script in scripts if script.stem == wanted]
    if not scripts:
        names = ", ".join(script.stem.removeprefix("bench_") for script in sorted(BENCHES.glob("bench_*.py")))
        raise Problem(f"tests/bench holds no benchmark {options.name or ''!r}; it has: {names or 'none yet'}.")
    ready = set_up(models=True)
    return max(run(ready, [script, *options.rest]) for script in scripts)


def tell(_options: argparse.Namespace) -> int:
    """Says what is installed, what is missing and how to get it; changes nothing."""
    return doctor()


# Parts


def host(ready: Ready, name: str, port: int = 0) -> HostServer:
    """A host with the pack, the demo's nodes and the miniature models, in a base folder of its own."""
    cpu = not torch_finds_cuda(str(ready.python))
    return HostServer(ready.python, ready.host, base_folder(name), port, models_dir=ready.models, cpu=cpu)


def run(
    ready: Ready,
    arguments: Sequence[str | Path],
    defaults: Mapping[str, str] | None = None,
    output: BinaryIO | None = None,
) -> int:
    """Runs our environment's interpreter on the terminal, or into a file, and returns its exit code."""
    places = {"WANCAST_HOST": str(ready.host), "WANCAST_MODELS": str(ready.models)}
    command, environment = [str(ready.python), *map(str, arguments)], {**(defaults or {}), **os.environ, **places}
    streams = {} if output is None else {"stdout": output, "stderr": subprocess.STDOUT}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False, **streams).returncode


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line; ``command`` is the function to call and ``rest`` is what follows --."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(prog="dev.py", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="demo|test|serve|bench|doctor")

    def add(name: str, command: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=command.__doc__, description=command.__doc__)
        sub.set_defaults(command=command)
        return sub

    add("demo", demo)
    add("test", test).add_argument("tier", nargs="?", choices=TIERS)
    add("serve", serve).add_argument("--port", type=int, default=0, help="default: one that is free")
    add("bench", bench).add_argument("name", nargs="?", help="tests/bench/bench_NAME.py")
    add("doctor", tell)
    options = parser.parse_args(arguments[:cut])
    options.rest = arguments[cut + 1 :]
    return options


def terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Turns a request to end into an exit that cleans up."""
    raise SystemExit(143)


def main() -> int:
    """Runs one command; what goes wrong is one message and a non-zero exit code."""
    signal.signal(signal.SIGTERM, terminate)
    forget_users_python()
    options = parse(sys.argv[1:])
    try:
        return options.command(options)
    except (Problem, HostFailed) as problem:
        say(str(problem))
        return 1
    except KeyboardInterrupt:
        say("\nStopped.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
