"""Two people in one picture, and what the lock does when they swap, when it is weaker, and when it was saved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from demo import world
from tests.bench.cast.figures import Goal, Interval, mean_of
from tests.bench.cast.jobs import Archive, Arrays, BenchJob, Company, MadeFilms, RealFilms, caption
from tests.bench.cast.likeness import found_share, reference_cosine
from tests.bench.cast.page import Page, cell
from tests.bench.cast.studio import FACE_FILES, Held, Recipe, Studio

SEEDS = 2
PAIR_SHOTS, STRENGTH_SHOTS, SAVED_SHOTS = 5000, 6000, 6500  # the numbers of the first
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
FRAMING = "medium shot"  # two faces have room
WAYS = {"real": 1, "locked": 1, "swapped": -1}  # 1: the first person of a pair stands on the left
SHOWN = 4  # pairs on the contact sheet

# Two people


def people_of(pair: int) -> tuple[int, int]:
    """Two test identities of whom a prompt says the same, so that the masks alone decide who stands where."""
    first, *others = (world.person("test", 2 * pair + number) for number in range(40))
    return first.index, next(other.index for other in others if other.sex == first.sex)


def pair_films(pair: int, way: str) -> BenchJob:
    """Films of two people side by side: one real, or of one prompt and one noise, whoever stands where."""
    people, number = people_of(pair), PAIR_SHOTS + pair
    if way == "real":
        return RealFilms(f"pairs real/{pair}", people, (number,), FRAMING)
    left, right = reversed(people) if way == "swapped" else people
    held = (Held(left, side="left"), Held(right, side="right"))
    return MadeFilms(
        f"pairs {way}/{pair}", Recipe(caption(people, number, FRAMING), seed=number, clips=SEEDS, held=held)
    )


def report_pairs(company: Company, page: Page, pairs: int) -> None:
    """In how many frames each face is nearer to who is locked there than to the other."""
    rows, goals = [], []
    for way, sign in WAYS.items():
        scored = company.scored([([pair_films(pair, way)], people_of(pair)) for pair in range(pairs)])
        margins = [one["sides"][..., [0, 1], [0, 1]] - one["sides"][..., [0, 1], [1, 0]] for one in scored]  # s f side
        both = np.array([np.isfinite(margin[..., 0]).mean() for margin in margins])
        own = np.array([(sign * margin > 0).all(axis=-1).mean() for margin in margins]) / np.where(both, both, np.nan)
        rows.append((way, mean_of(both), mean_of(own)))
        goals.append((f"both nearer to their own, {way}", mean_of(own), Goal("least", 0.95)))
    page.say(f"{pairs} pairs of test identities of whom the prompt says the same, {SEEDS} seeds, a mask for each half.")
    page.table(("", "frames with two faces", "of these, both nearer to their own"), rows)
    page.goals(goals[1:])
    page.sheet(
        "films",
        [[cell(company.films(pair_films(pair, way))[0], way) for way in WAYS] for pair in range(min(pairs, SHOWN))],
    )


# Strength


def report_strength(company: Company, page: Page, people: int) -> None:
    """Likeness over the strength of the lock."""
    measures = {"cosine to reference": reference_cosine, "face found": found_share}
    found: dict[str, list[Interval]] = {name: [] for name in measures}
    pictures = []
    for strength in STRENGTHS:
        takes = []
        for person in range(people):
            number = STRENGTH_SHOTS + person
            recipe = Recipe(caption((person,), number), seed=number, held=(Held(person, strength),))
            takes.append(MadeFilms(f"strength {strength:g}/{person}", recipe))
        scored = company.scored([([take], (person,)) for person, take in enumerate(takes)])
        for name, measure in measures.items():
            found[name].append(mean_of(np.array([measure(one) for one in scored])))
        pictures.append([cell(company.films(take)[0], f"strength {strength:g}") for take in takes[:3]])
    page.say(f"{people} test identities, one prompt each, the same noise at every strength.")
    page.table(("strength", *measures), list(zip(map(str, STRENGTHS), *found.values(), strict=True)))
    words = {
        "title": "Likeness over the strength of the lock",
        "x_label": "strength",
        "y_label": "cosine; share of frames",
    }
    page.chart("likeness_by_strength", STRENGTHS, {n: [one.value for one in row] for n, row in found.items()}, **words)
    page.sheet("films", list(zip(*pictures, strict=True)))


# Saved


@dataclass(frozen=True, slots=True)
class SavedCharacter:
    """A test identity in the library of characters: "reference", what a workflow holds of it."""

    person: int
    weights: ClassVar[tuple[str, ...]] = FACE_FILES

    @property
    def name(self) -> str:
        return f"saved/{self.person}"

    def run(self, studio: Studio, archive: Archive) -> Arrays:
        return {"reference": np.array(studio.save_identity(self.person))}


def report_saved(company: Company, page: Page, people: int) -> None:
    """Whether a character that was saved and is loaded by another process gives the same latents, bit for bit."""
    references = [str(one["reference"]) for one in company.read([SavedCharacter(person) for person in range(people)])]
    recipes = [Recipe(caption((p,), SAVED_SHOTS + p), seed=p, held=(Held(p),)) for p in range(people)]
    here = company.read([MadeFilms(f"saved here/{p}", recipe) for p, recipe in enumerate(recipes)])
    other = Company(company.archive, processes=1)
    loaded = zip(recipes, references, strict=True)
    there = other.read([MadeFilms(f"saved there/{p}", *parts) for p, parts in enumerate(loaded)])
    same = sum(str(one["sha256"]) == str(again["sha256"]) for one, again in zip(here, there, strict=True))
    page.say(f"Saved, loaded by another process, sampled: the same latents bit for bit for {same} of {people} people.")
