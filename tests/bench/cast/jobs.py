"""Pieces of work of a benchmark: each makes the arrays of one file, in one of several processes, and only once."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch

from demo import world
from tests.bench.cast.studio import (
    CFG,
    ENLARGED,
    FACE_FILES,
    LOOKED_AT,
    SCORER,
    SHIFT,
    STEPS,
    Recipe,
    Studio,
    sha256_of_latents,
)
from tests.bench.workbench import say

Arrays = dict[str, np.ndarray]
Story = tuple[Sequence["BenchJob"], tuple[int, ...]]  # what makes the films, and the test identities in them

SAY_EVERY_S = 10.0
SETTINGS = (STEPS, CFG, SHIFT, ENLARGED, LOOKED_AT)
SHOT_SEED = 9_000_000  # of the first shot of a benchmark: none that training draws


class BenchJob(Protocol):
    """A piece of work; its repr says all that decides what it makes, but for weights and the world."""

    @property
    def name(self) -> str:
        """What it is called in the archive."""

    @property
    def weights(self) -> tuple[str, ...]:
        """The weight files that decide what it makes."""

    def run(self, studio: Studio, archive: Archive) -> Arrays: ...


@dataclass(frozen=True, slots=True)
class Archive:
    """The folder that keeps what was made: each job's file is named by all that decides what is in it."""

    folder: Path
    models: Path  # the host's models folder

    def path(self, job: BenchJob) -> Path:
        places = {name: next(self.models.rglob(name), None) for name in job.weights}
        if missing := [name for name, place in places.items() if place is None]:
            raise JobFailed(f"{job.name}: {self.models} lacks {', '.join(missing)}")
        weights = [sha256_of(place) for place in places.values()]
        decides = repr((job, weights, world_sha256(), SETTINGS))
        return self.folder / f"{job.name}.{hashlib.sha256(decides.encode()).hexdigest()[:12]}.npz"

    def read(self, job: BenchJob) -> Arrays:
        with np.load(self.path(job)) as file:
            return dict(file)

    def write(self, job: BenchJob, arrays: Arrays) -> None:
        path = self.path(job)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as file:
            np.savez_compressed(file, **arrays)
        part.replace(path)


@cache
def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def world_sha256() -> str:
    """A hash of the source that draws the world."""
    folder = Path(world.__file__).parent
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.glob("*.*")))).hexdigest()


# Films: arrays "films" b f h w 3 uint8


@dataclass(frozen=True, slots=True)
class RealFilms:
    """Films of the world itself."""

    name: str
    people: tuple[int, ...]  # test identities
    shots: tuple[int, ...]  # numbers of shots
    framing: str | None = None
    weights: ClassVar[tuple[str, ...]] = ()

    def run(self, studio: Studio, archive: Archive) -> Arrays:
        clips = [world.film(actors(self.people), shot(number, self.framing)) for number in self.shots]
        return {"films": torch.stack([clip.frames for clip in clips]).numpy()}


@dataclass(frozen=True, slots=True)
class MadeFilms:
    """Films of one recipe; "sha256" is that of their latents."""

    name: str
    recipe: Recipe
    saved_as: str | None = None  # what the library of characters calls the only person

    @property
    def weights(self) -> tuple[str, ...]:
        return self.recipe.weights

    def run(self, studio: Studio, archive: Archive) -> Arrays:
        latents = studio.sample(self.recipe, saved=studio.saved_identity(self.saved_as) if self.saved_as else None)
        return {"films": studio.decode(latents), "sha256": np.array(sha256_of_latents(latents))}


@dataclass(frozen=True, slots=True)
class Chain:
    """Films each of which begins with the last frame of the one before; the first with that of a real one."""

    name: str
    recipe: Recipe
    before: RealFilms
    links: int

    @property
    def weights(self) -> tuple[str, ...]:
        return self.recipe.weights

    def run(self, studio: Studio, archive: Archive) -> Arrays:
        films = [self.before.run(studio, archive)["films"][0]]
        for _ in range(self.links):
            films.extend(studio.decode(studio.sample(self.recipe, start=films[-1][-1:])))
        return {"films": np.stack(films[1:])}


def actors(people: Sequence[int]) -> tuple[world.Person, ...]:
    return tuple(world.person("test", index) for index in people)


def shot(number: int, framing: str | None = None) -> world.Shot:
    return world.shot(SHOT_SEED + number, **({"framing": framing} if framing else {}))


def caption(people: Sequence[int], number: int, framing: str | None = None) -> str:
    """The prompt of a shot."""
    return world.film(actors(people), shot(number, framing), frames=1).caption()


# Scores


@dataclass(frozen=True, slots=True)
class Scores:
    """Who is seen in the films of a story.

    Of p people, s films and f frames that were looked at: "cosines" p s f to the reference, NaN without a face;
    "vectors" p s f d of the faces; "cross" p, the mean likeness of two films; "copy_rate" p and "copy_rate_of_photo" p;
    "sides" s f 2 p, to each person of the leftmost and of the rightmost face, NaN where there are not two.
    """

    name: str
    films: tuple[BenchJob, ...]  # what made them
    people: tuple[int, ...]  # test identities

    @property
    def weights(self) -> tuple[str, ...]:
        return (*(name for job in self.films for name in job.weights), SCORER, *FACE_FILES)

    def run(self, studio: Studio, archive: Archive) -> Arrays:
        films = np.concatenate([archive.read(job)["films"] for job in self.films])
        result = studio.check(films, self.people)
        cosines = np.full((len(self.people), len(films), LOOKED_AT), np.nan)
        vectors = np.full((*cosines.shape, 512), np.nan, np.float32)
        for person, likeness in enumerate(result.likenesses):
            for number, seen in enumerate(likeness.shots):
                cosines[person, number] = np.array(seen.cosines, dtype=np.float64)  # None is NaN
                for frame, sighting in enumerate(seen.sightings):
                    if sighting is not None:
                        vectors[person, number, frame] = sighting.vector
        rates = {
            name: np.array([getattr(one, name) for one in result.likenesses], dtype=np.float64)
            for name in ("copy_rate", "copy_rate_of_photo")
        }
        pairs = [[pair.cosine for pair in likeness.pairs] for likeness in result.likenesses]
        cross = np.array([np.mean(several) if several else np.nan for several in pairs])
        return {"cosines": cosines, "vectors": vectors, "cross": cross, "sides": sides_of(result), **rates}


def sides_of(result: Any) -> np.ndarray:
    """s f 2 p: how alike the leftmost and the rightmost face of each frame are to each person."""
    known = torch.stack([one.vector for one in result.cast])  # p d
    frames = [sightings for watched in result.watched for sightings in watched.sightings]
    sides = np.full((len(frames), 2, len(known)), np.nan)
    for frame, sightings in enumerate(frames):
        if len(sightings) > 1:
            ordered = sorted(sightings, key=lambda seen: seen.face.centre.real)
            sides[frame] = torch.stack([ordered[0].vector, ordered[-1].vector]) @ known.T
    return sides.reshape(len(result.watched), -1, 2, len(known))


# Many of them


class Company:
    """Processes that do what is not done yet."""

    def __init__(self, archive: Archive, processes: int) -> None:
        self.archive, self.processes = archive, processes

    @cached_property
    def pool(self) -> ProcessPoolExecutor:
        spawn = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self.processes, spawn, open_studio, (self.archive,))

    def read(self, jobs: Sequence[BenchJob]) -> list[Arrays]:
        """What jobs made, in their order; those without a file are done first, in any order."""
        waiting = [job for job in jobs if not self.archive.path(job).exists()]
        running = [self.pool.submit(do_job, job) for job in waiting]
        start_s = said_s = time.perf_counter()
        for done, job in enumerate(as_completed(running), start=1):
            job.result()
            if time.perf_counter() - said_s > SAY_EVERY_S or done == len(running):
                said_s = time.perf_counter()
                say(f"  {waiting[0].name.rpartition('/')[0]}: {done} of {len(running)} in {said_s - start_s:.0f} s")
        return [self.archive.read(job) for job in jobs]

    def scored(self, stories: Sequence[Story]) -> list[Arrays]:
        """The scores of each story; its films are made first where they are missing."""
        self.read([job for films, _ in stories for job in films])
        return self.read([Scores(f"scores/{films[0].name}", tuple(films), who) for films, who in stories])

    def films(self, job: BenchJob) -> np.ndarray:
        return self.read([job])[0]["films"]


class JobFailed(Exception):
    """The message says which piece of work failed, and why."""


STUDIOS: list[tuple[Studio, Archive]] = []  # the one of this process


def open_studio(archive: Archive) -> None:
    torch.set_num_threads(1)
    logging.getLogger().setLevel(logging.ERROR)  # the host warns of one model in both slots, film by film
    STUDIOS.append((Studio(archive.models, archive.folder / "characters"), archive))


def do_job(job: BenchJob) -> None:
    """Makes a job's file; raises JobFailed, as the pack's own errors do not go from process to process."""
    ((studio, archive),) = STUDIOS
    try:
        with torch.inference_mode():
            archive.write(job, job.run(studio, archive))
    except Exception as error:
        raise JobFailed(f"{job.name}: {error}") from None
