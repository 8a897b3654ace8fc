"""Likeness that lasts: twelve shots of three people who come and go, and chunks of image to video in a chain."""

from __future__ import annotations

import numpy as np

from tests.bench.cast.figures import Goal, Interval, mean_of, ratio_of, slope_of
from tests.bench.cast.jobs import BenchJob, Chain, Company, MadeFilms, RealFilms, caption
from tests.bench.cast.likeness import MADE
from tests.bench.cast.page import Page, cell
from tests.bench.cast.studio import Held, Recipe, missing_files

ROLES = 3  # people of an episode
PATTERN = (0, 0, 1, 2, 1, 2, 2, 1, 2, 0, 1, 0)  # who is in each shot; the first comes back after 8
EPISODE_SHOTS, CHAIN_SHOTS = 3000, 4000  # the numbers of the first
LINKS = 6
FRAMING = "close-up"  # of chained chunks

# Episodes


def episode(number: int, arm: str) -> list[BenchJob]:
    """The films of an episode."""
    films = []
    for place, role in enumerate(PATTERN):
        person, at = ROLES * number + role, EPISODE_SHOTS + len(PATTERN) * number + place
        held = (Held(person),) if arm == "locked" else ()
        films.append(MadeFilms(f"episodes {arm}/{at}", Recipe(caption((person,), at), seed=at, held=held)))
    return films


def likeness_by_shot(company: Company, number: int, arm: str) -> np.ndarray:
    """The mean cosine to the character of each shot of an episode; NaN where no face was found."""
    films, roles, found = episode(number, arm), np.array(PATTERN), np.full(len(PATTERN), np.nan)
    stories = [([films[n] for n in np.flatnonzero(roles == r)], (ROLES * number + r,)) for r in range(ROLES)]
    for role, scored in enumerate(company.scored(stories)):
        found[roles == role] = np.nanmean(scored["cosines"][0], axis=1)
    return found


def report_episodes(company: Company, page: Page, episodes: int) -> None:
    """Likeness from shot to shot and its slope."""
    company.read([film for arm in MADE for number in range(episodes) for film in episode(number, arm)])
    found = {arm: np.stack([likeness_by_shot(company, n, arm) for n in range(episodes)]) for arm in MADE}
    page.say(
        f"{episodes} episodes of {len(PATTERN)} shots, {ROLES} test identities each; who is in the first two "
        "comes back after 8. The slope is the change from shot to shot of the cosine to the reference."
    )
    page.goals([("fall of likeness a shot, locked", slope_of(-found["locked"]), Goal("most", 0.005))])
    draw_course(page, found, "shot", [slope_of(found[arm]) for arm in MADE], "slope")
    films = {arm: [company.films(job)[0] for job in episode(0, arm)] for arm in MADE}
    page.sheet(
        "films", [[cell(f, f"person {r}", arm) for f, r in zip(films[arm], PATTERN, strict=True)] for arm in MADE]
    )


# Image to video


def chain(person: int, arm: str) -> Chain:
    number = CHAIN_SHOTS + person
    held = (Held(person),) if arm == "locked" else ()
    recipe = Recipe(caption((person,), number, FRAMING), seed=number, held=held, kind="i2v")
    return Chain(f"chains {arm}/{person}", recipe, RealFilms("", (person,), (number,), FRAMING), LINKS)


def report_chains(company: Company, page: Page, people: int) -> None:
    """Likeness of each chunk of a chain, with the lock and from the last frame alone."""
    if missing := missing_files("i2v", company.archive.models):
        page.say(f"Not measured: the models folder lacks {', '.join(missing)}.")
        return
    scored = {arm: company.scored([([chain(p, arm)], (p,)) for p in range(people)]) for arm in MADE}
    found = {arm: np.stack([np.nanmean(one["cosines"][0], axis=1) for one in scored[arm]]) for arm in MADE}
    kept = [ratio_of(found[arm][:, -1], found[arm][:, 0]) for arm in MADE]
    better = mean_of(found["locked"][:, -1] - found["prompt only"][:, -1])
    page.say(f"{people} chains of {LINKS} chunks, each of which begins with the last frame of the one before.")
    page.goals(
        [
            ("last / first chunk, locked", kept[0], Goal("least", 0.95)),
            ("last chunk, locked less last frame alone", better, Goal("least", 0.0)),
        ]
    )
    draw_course(page, found, "chunk", kept, "last / first")
    films = {arm: company.films(chain(0, arm)) for arm in MADE}
    page.sheet("films", [[cell(f, f"chunk {n}", arm, at=-1) for n, f in enumerate(films[arm], 1)] for arm in MADE])


def draw_course(page: Page, found: dict[str, np.ndarray], unit: str, figures: list[Interval], figure: str) -> None:
    """A table and a chart of likeness over shots or chunks."""
    means = {arm: np.nanmean(rows, axis=0).tolist() for arm, rows in found.items()}
    places = [float(place) for place in range(1, len(means["locked"]) + 1)]
    rows = [(arm, *mean, shown) for (arm, mean), shown in zip(means.items(), figures, strict=True)]
    page.table(("", *(f"{unit} {place:g}" for place in places), figure), rows)
    words = {"title": f"Likeness {unit} by {unit}", "x_label": unit, "y_label": "cosine to the reference"}
    page.chart(f"likeness_by_{unit}", places, means, **words)
