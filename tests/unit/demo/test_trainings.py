"""The command that trains the miniature cast: an order in which each part finds what it reads."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

from demo.training import __main__ as command
from demo.training.job import Job


def test_each_training_comes_after_those_that_it_needs_and_writes_a_file_of_its_own() -> None:
    names = list(command.TRAININGS)
    for name, training in command.TRAININGS.items():
        assert all(names.index(need) < names.index(name) for need in training.needs)
        assert callable(import_module(f"demo.training.{training.module}").train)
    files = [training.file for training in command.TRAININGS.values() if training.file]
    assert len(set(files)) == len(files) == len(names) - 1


def test_all_are_trained_in_their_order_and_none_before_what_it_reads_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[str] = []

    def train(job: Job) -> None:
        trained.append(job.name)
        if file := command.TRAININGS[job.name].file:
            (job.out / file).touch()

    monkeypatch.setattr(command, "import_module", lambda name: SimpleNamespace(train=train))
    with pytest.raises(SystemExit):
        command.main(["i2v-low", "--out", str(tmp_path)])
    assert "i2v-low reads what text and vae and t2v-low writes, which is not in" in capsys.readouterr().err
    command.main(["all", "--out", str(tmp_path)])
    assert trained == list(command.TRAININGS)
