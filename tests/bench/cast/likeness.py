"""The table: test identities locked, by prompt alone and real, and whether the prompt is followed as freely."""

from __future__ import annotations

import numpy as np

from tests.bench.cast.figures import Goal, cross_mean, frechet_distances, mean_of, ratio_of
from tests.bench.cast.jobs import Arrays, BenchJob, Company, MadeFilms, RealFilms, caption, shot
from tests.bench.cast.page import Page, cell
from tests.bench.cast.reader import WORDS, taught_reader
from tests.bench.cast.studio import ENLARGED, LOOKED_AT, Held, Recipe
from wan_core.media.sheet import Cell

PEOPLE, PROMPTS, SEEDS = 40, 3, 2
ARMS = ("real", "locked", "prompt only")
MADE = ARMS[1:]
OTHER_SHOTS = 1000  # from here on: shots of real films that no prompt is of
SHEET_PEOPLE = 6
FREE_WORDS = ("action", "scene", "style")  # whose agreement has a goal


def shots_of(person: int) -> list[int]:
    """The numbers of a person's prompts."""
    return [PROMPTS * person + prompt for prompt in range(PROMPTS)]


def films_of(person: int, arm: str) -> list[BenchJob]:
    """A film for each prompt and seed; as many real ones: of the prompts' shots, then of others."""
    numbers = shots_of(person)
    if arm == "real":
        return [RealFilms(f"real/{person}", (person,), (*numbers, *(OTHER_SHOTS + number for number in numbers)))]
    held = (Held(person),) if arm == "locked" else ()
    return [MadeFilms(f"{arm}/{n}", Recipe(caption((person,), n), seed=n, clips=SEEDS, held=held)) for n in numbers]


# Likeness


def faces_of(scored: Arrays) -> list[np.ndarray]:
    """The vectors of the first person's faces in each film with any: f d."""
    films = [film[np.isfinite(film[:, 0])].astype(np.float64) for film in scored["vectors"][0]]
    return [film for film in films if len(film)]


def faces_in(several: list[Arrays]) -> np.ndarray:
    """The vectors of all faces, n d."""
    return np.concatenate([film for scored in several for film in faces_of(scored)])


def reference_cosine(scored: Arrays) -> float:
    return float(np.nanmean(scored["cosines"]))


def found_share(scored: Arrays) -> float:
    return float(np.isfinite(scored["cosines"]).mean())


MEASURES = {
    "cosine to reference": reference_cosine,
    "between films": lambda scored: scored["cross"][0],
    "CopyRate": lambda scored: scored["copy_rate"][0],
    "face found": found_share,
}


def report_likeness(company: Company, page: Page, people: int) -> None:
    """Likeness, with what has to stand beside it, and the goals."""
    scored = {arm: company.scored([(films_of(p, arm), (p,)) for p in range(people)]) for arm in ARMS}
    found = {
        arm: {name: np.array([measure(one) for one in scored[arm]]) for name, measure in MEASURES.items()}
        for arm in ARMS
    }
    bound = np.array([cross_mean(faces_of(one)) for one in scored["real"]])
    halves = [[film for one in scored["real"] for film in faces_of(one)[half::2]] for half in (0, 1)]
    truth, others = map(np.concatenate, halves)
    distances = frechet_distances(truth, {"real": others, **{arm: faces_in(scored[arm]) for arm in MADE}})
    photo = np.mean([one["copy_rate_of_photo"] for one in scored["real"]])
    page.say(
        f"{people} test identities x {PROMPTS} prompts x {SEEDS} seeds. U, the cosine of a face in one real film to "
        f"one in another of the same person, is {mean_of(bound)}. CopyRate of the portrait itself is {photo:.3f}. "
        "Frechet distances are to the faces of every other real film, also that of the rest of the real ones. "
        f"Looked at: {LOOKED_AT} frames of each film, {ENLARGED} times as large."
    )
    rows = [(arm, *(mean_of(found[arm][name]) for name in MEASURES), distances[arm]) for arm in ARMS]
    page.table(("", *MEASURES, "Frechet distance"), rows)
    (cosine, cross, copied, has_face), plain = found["locked"].values(), found["prompt only"]["cosine to reference"]
    page.goals(
        [
            ("locked to reference / U", ratio_of(cosine, bound), Goal("least", 0.85)),
            ("prompt only to reference / U", ratio_of(plain, bound), Goal("most", 0.2)),
            ("locked between films / real ones", ratio_of(cross, found["real"]["between films"]), Goal("least", 0.8)),
            ("CopyRate, locked", mean_of(copied), Goal("most", 0.55)),
            ("face found, locked", mean_of(has_face), Goal("least", 0.98)),
        ]
    )
    page.say(
        f"The lock adds a cosine of {mean_of(cosine - plain)}: {ratio_of(cosine - plain, bound - plain)} of the way "
        "from the prompt alone to U. The claim of 76 % that the project starts from does not say of what."
    )
    page.sheet("films", [sheet_row(company, person, scored) for person in range(min(people, SHEET_PEOPLE))])


def sheet_row(company: Company, person: int, scored: dict[str, list[Arrays]]) -> list[Cell]:
    """Of each prompt the real, the locked and the other film."""
    real = company.films(films_of(person, "real")[0])
    row = [cell(film, f"person {person}", "real") for film in real[:PROMPTS]]
    for arm in MADE:
        likeness = np.nanmean(scored[arm][person]["cosines"][0], axis=1)[::SEEDS]
        films = [company.films(job)[0] for job in films_of(person, arm)]
        row += [cell(film, arm, f"likeness {cosine:.2f}") for film, cosine in zip(films, likeness, strict=True)]
    return row


# The prompt


def motion_energy(films: np.ndarray) -> float:
    """The mean absolute difference of a pixel to the frame before, of films b f h w 3, in grey levels."""
    return float(np.abs(np.diff(films.astype(np.int16), axis=1)).mean())


def report_prompts(company: Company, page: Page, people: int) -> None:
    """How often the words of the prompt are read from the films, with and without the lock, and how much moves."""
    reader, real_share = taught_reader(company)
    right, moved = {}, {}
    for arm in ARMS:
        films = [np.concatenate([one["films"] for one in company.read(films_of(p, arm))]) for p in range(people)]
        taken = 1 if arm == "real" else SEEDS
        agreed = [
            [reader.agrees(several[taken * n : taken * (n + 1)], shot(number)) for n, number in enumerate(shots_of(p))]
            for p, several in enumerate(films)
        ]
        right[arm] = np.array(agreed).mean(axis=1)  # people words
        moved[arm] = np.array([motion_energy(several) for several in films])
    page.say("Share of films in which a small network, taught by films of the world, reads what the prompt says.")
    rows = [
        (word, real_share[n], *(mean_of(right[arm][:, n]) for arm in ARMS), 1 / len(choices))
        for n, (word, choices) in enumerate(WORDS.items())
    ]
    page.table(("", "other real films", *ARMS, "by chance"), rows)
    drops = right["prompt only"] - right["locked"]
    motion = "motion, locked / prompt only", ratio_of(moved["locked"], moved["prompt only"])
    page.goals(
        [
            *(
                (f"{w}: drop by the lock", mean_of(drops[:, list(WORDS).index(w)]), Goal("most", 0.03))
                for w in FREE_WORDS
            ),
            (*motion, Goal("least", 0.95)),
            (*motion, Goal("most", 1.05)),
        ]
    )
