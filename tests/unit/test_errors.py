"""Errors carry what they say as data, and the innermost node keeps its name in them."""

from __future__ import annotations

import traceback
from fractions import Fraction

import numpy as np
import pytest

from wan_core.errors import InputError, MissingDependencyError, UserError, errors_of, inputs_renamed, quoted
from wan_core.notes import Note, note_lines


def test_an_input_error_says_what_it_carries() -> None:
    error = InputError("steps", found=0, wanted="at least 1", fix="Raise steps.")
    assert (error.input_name, error.found, error.wanted, error.fix) == ("steps", 0, "at least 1", "Raise steps.")
    assert str(error) == error.text == "steps: found 0; wanted at least 1. Raise steps."
    assert isinstance(error, UserError) and isinstance(error, ValueError)
    assert error.node is None


def test_a_missing_package_is_named_with_how_to_install_it() -> None:
    error = MissingDependencyError("insightface", needed_for="face: insightface pack")
    assert (error.package, error.needed_for) == ("insightface", "face: insightface pack")
    assert str(error) == (
        "face: insightface pack needs the Python package 'insightface'. Install it with: pip install insightface"
    )
    assert isinstance(error, UserError) and isinstance(error, RuntimeError)


@pytest.mark.parametrize("error", [UserError("no"), InputError("a", found=1, wanted="2", fix="Do.")])
def test_the_node_is_put_in_front_of_the_text(error: UserError) -> None:
    text = str(error)
    with pytest.raises(UserError) as caught, errors_of("MoESampler"):
        raise error
    assert caught.value is error
    assert (error.node, error.text, str(error)) == ("MoESampler", text, f"MoESampler: {text}")


def test_the_innermost_node_keeps_its_name() -> None:
    outer, inner = errors_of("SamplerNode"), errors_of("WanCastMoEGuider")
    with pytest.raises(UserError, match="^WanCastMoEGuider: no$"), outer, inner:
        raise UserError("no")


def test_what_a_library_said_does_not_leave_the_node_with_the_error() -> None:
    def fails() -> None:
        with errors_of("MoESampler"):
            try:
                raise KeyError("\ud800")
            except KeyError as error:
                raise UserError("no") from error

    with pytest.raises(UserError) as caught:
        fails()
    assert "".join(traceback.format_exception(caught.value)).isascii()
    assert "KeyError" not in "".join(traceback.format_exception(caught.value))


def test_an_error_that_is_not_for_the_user_stays_as_it_is() -> None:
    with pytest.raises(ValueError, match="^no$"), errors_of("MoESampler"):
        raise ValueError("no")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("face", "'face'"),
        ("a\nb\ud800\u202e", r"'a\nb\ud800\u202e'"),
        ("k" * 1000, f"'{'k' * 120}' and 880 characters more"),
        (0.5, "0.5"),
        (np.float32(16), "16.0"),
        (np.float64(0.5), "0.5"),
        (np.str_("face"), "'face'"),
        (Fraction(24000, 1001), "24000/1001"),
        pytest.param(-(10**5000), "a whole number of 16610 bits", id="5000 digits"),
        (None, "None"),
        ([0.123], "a list"),
    ],
)
def test_a_foreign_value_is_quoted_escaped_and_cut(value: object, words: str) -> None:
    assert quoted(value) == words


def test_a_message_and_a_note_are_one_printable_line_of_bounded_length() -> None:
    foreign, printed = "a\n\u202eb\udfff \u00e9", r"a\n\u202eb\udfff " + "\u00e9"
    assert str(UserError(foreign)) == printed
    assert note_lines([Note("code", foreign)]) == [f"note: {printed}"]
    assert len(UserError("k" * 2_000_000).text) < 2100


def test_an_error_about_a_renamed_input_is_about_the_one_in_its_place() -> None:
    for name, message in (
        ("frames", "clips.clip_2: found 3; wanted 4. Do it."),
        ("face", "face: found 3; wanted 4. Do it."),
    ):
        with pytest.raises(InputError) as caught, inputs_renamed(frames="clips.clip_2"):
            raise InputError(name, found=3, wanted="4", fix="Do it.")
        assert str(caught.value) == message
