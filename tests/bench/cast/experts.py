"""Two experts against one model of the same cost: validation loss by noise level, and films at other boundaries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from demo import world
from tests.bench.cast.figures import Goal, frechet_distances, mean_of, ratio_of
from tests.bench.cast.jobs import Archive, Arrays, BenchJob, Company, MadeFilms, RealFilms, caption
from tests.bench.cast.likeness import MADE, faces_in, found_share, reference_cosine
from tests.bench.cast.page import Page, cell
from tests.bench.cast.studio import EXPERTS, SHIFT, TEXT_ENCODER, VAE, Held, Recipe, Studio, missing_files
from wan_core.media.chart import Mark
from wan_core.moe.noise_level import unshifted
from wan_core.moe.split import TEXT_BOUNDARY, is_high

BOUNDARIES = (0.6, TEXT_BOUNDARY, 0.97)
STRETCHES = ((0.0, 0.6, 6), (0.6, 0.875, 6), (0.875, 0.97, 4), (0.97, 1.0, 3))  # of sigma, each in so many parts
EDGES = [low + (high - low) * n / parts for low, high, parts in STRETCHES for n in range(parts)] + [1.0]
SIGMAS = [(low + high) / 2 for low, high in zip(EDGES[:-1], EDGES[1:], strict=True)]
SHARES = np.diff([unshifted(edge, SHIFT) for edge in EDGES])  # of the noise levels of a film's steps
MODELS = {"high": EXPERTS["t2v"][0], "low": EXPERTS["t2v"][1], "one model": EXPERTS["control"][0]}
CLIPS_A_JOB = 8
VALIDATION_SHOT = 7_000_000
SHOTS = 2000  # the number of the first, two a person


@dataclass(frozen=True, slots=True)
class LevelLosses:
    """The flow-matching loss of one model on clips of validation identities: "losses", clips x levels."""

    model: str  # one of MODELS
    part: int

    @property
    def name(self) -> str:
        return f"losses/{self.model}-{self.part}"

    @property
    def weights(self) -> tuple[str, ...]:
        return MODELS[self.model], VAE, TEXT_ENCODER

    def run(self, studio: Studio, archive: Archive) -> Arrays:
        import comfy.model_management

        model = studio.model(MODELS[self.model])
        comfy.model_management.load_models_gpu([model])
        captions, latents = zip(*self.clips(studio), strict=True)
        texts = torch.cat([studio.text(prompt)[0][0] for prompt in captions])
        clean = model.model.process_latent_in(torch.cat(latents))  # b c t h w
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(self.part))
        losses = []
        for sigma in SIGMAS:
            noisy, levels = (1 - sigma) * clean + sigma * noise, torch.full((len(clean),), sigma)
            error = (model.model.apply_model(noisy, levels, c_crossattn=texts) - clean) / sigma  # of the velocity
            losses.append(error.square().mean(dim=(1, 2, 3, 4)))
        return {"losses": torch.stack(losses, dim=1).numpy()}

    def clips(self, studio: Studio) -> Iterator[tuple[str, torch.Tensor]]:
        """Caption and latent of each clip."""
        for index in range(self.part * CLIPS_A_JOB, (self.part + 1) * CLIPS_A_JOB):
            clip = world.film((world.person("validation", index),), world.shot(VALIDATION_SHOT + index))
            yield clip.caption(), studio.encode(clip.frames.numpy())


def report_experts(company: Company, page: Page, people: int) -> None:
    """Losses of the pair at three boundaries, and of the one model where its file is there."""
    missing = missing_files("control", company.archive.models)
    losses = {
        name: np.concatenate(
            [one["losses"] for one in company.read([LevelLosses(name, part) for part in range(people)])]
        )
        for name in (["high", "low"] if missing else MODELS)
    }
    found = {
        f"pair, boundary {b:g}": np.where([is_high(sigma, b) for sigma in SIGMAS], losses["high"], losses["low"])
        for b in BOUNDARIES
    } | {name: several for name, several in losses.items() if name not in ("high", "low")}
    page.say(
        f"Flow-matching loss on {people * CLIPS_A_JOB} clips of validation identities, with one noise for all models."
        + "".join(f" Not measured: {name} is not in the models folder." for name in missing)
    )
    rows = [(name, mean_of(several @ SHARES), mean_of(several.mean(axis=1))) for name, several in found.items()]
    page.table(("", "mean over the noise levels of a film", "mean over those of the curve"), rows)
    best = found.pop(f"pair, boundary {TEXT_BOUNDARY:g}") @ SHARES
    page.goals(
        [(f"{n}, to {TEXT_BOUNDARY:g}", ratio_of(one @ SHARES, best), Goal("least", 1.0)) for n, one in found.items()]
    )
    page.chart(
        "loss_by_sigma",
        SIGMAS,
        {name: several.mean(axis=0).tolist() for name, several in losses.items()},
        [Mark(f"{boundary:g}", boundary) for boundary in BOUNDARIES],
        title="Validation loss of each model over all noise levels",
        x_label="sigma",
        y_label="flow-matching loss",
    )


def boundary_films(person: int, recipe: Recipe) -> list[BenchJob]:
    """A film of each of two prompts."""
    name = f"boundaries/{recipe.kind}-{recipe.boundary_sigma}-{'locked' if recipe.held else 'plain'}"
    numbers = (SHOTS + 2 * person, SHOTS + 2 * person + 1)
    return [MadeFilms(f"{name}/{n}", replace(recipe, caption=caption((person,), n), seed=n)) for n in numbers]


def report_boundaries(company: Company, page: Page, people: int) -> None:
    """Faces in films at each boundary against those of real films."""
    real = [RealFilms(f"boundaries/real/{p}", (p,), (SHOTS + 2 * p, SHOTS + 2 * p + 1)) for p in range(people)]
    truth = faces_in(company.scored([([films], (p,)) for p, films in enumerate(real)]))
    ways = {(f"pair, boundary {b:g}", how): Recipe("", 0, boundary_sigma=b) for b in BOUNDARIES for how in MADE}
    if not missing_files("control", company.archive.models):
        ways["one model", "prompt only"] = Recipe("", 0, kind="control")
    figures, faces, pictures = {}, {}, []
    for (title, how), recipe in ways.items():
        held = [(Held(person),) if how == "locked" else () for person in range(people)]
        films = [boundary_films(person, replace(recipe, held=who)) for person, who in enumerate(held)]
        scored = company.scored([(several, (person,)) for person, several in enumerate(films)])
        measures = (reference_cosine, found_share)
        figures[title, how] = [mean_of(np.array([measure(one) for one in scored])) for measure in measures]
        faces[title, how] = faces_in(scored)
        pictures.append([cell(company.films(several[0])[0], title, how) for several in films[:6]])
    page.say(f"{people} test identities, two prompts each.")
    distances = frechet_distances(truth, faces)
    rows = [(*way, *found, distances[way]) for way, found in figures.items()]
    page.table(("", "", "cosine to reference", "face found", "Frechet distance to real films"), rows)
    page.sheet("films", pictures)
