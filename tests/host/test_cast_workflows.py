"""The shipped workflows of a cast run from a saved character to the check, in the miniature."""

from __future__ import annotations

import uuid

import pytest

from demo.workflow import Prompt, miniature, shipped_workflow
from tests.host.live import Client, Graph, Run

SMALL = {"EmptyHunyuanLatentVideo": {"length": 9}, "MoESampler": {"steps": 2}}


def saved_character(client: Client, seed: int) -> str:
    """The reference of a new character, who is somebody else for every seed."""
    graph = Graph()
    person = graph.add("WanCastProbeIdentity", seed=seed, references=1)[0]
    made = graph.add("WanCastCharacterSave", identity=person, name=uuid.uuid4().hex, if_exists="refuse")
    return client.value(graph, made[1]).tree[""]


def of_class(prompt: Prompt, class_type: str) -> list[str]:
    return [node for node, about in prompt.items() if about["class_type"] == class_type]


@pytest.mark.parametrize(
    ("name", "loaders", "clips"), [("Same character, three shots, checked", 1, 3), ("A cast of two", 2, 1)]
)
def test_a_workflow_of_saved_characters_ends_with_a_verdict(
    client: Client, name: str, loaders: int, clips: int
) -> None:
    graph = Graph()
    graph.prompt = miniature(shipped_workflow(name))
    for seed, node in enumerate(of_class(graph.prompt, "WanCastCharacterLoad")):
        assert graph.prompt[node]["inputs"]["character"] == ""  # a person picks
        graph.prompt[node]["inputs"]["character"] = saved_character(client, seed)
    for about in graph.prompt.values():
        about["inputs"] |= SMALL.get(about["class_type"], {})
    run: Run = client.run(graph)
    (check,) = of_class(graph.prompt, "WanCastIdentityCheck")
    assert len(of_class(graph.prompt, "WanCastCharacterLoad")) == loaders
    assert len([key for key in graph.prompt[check]["inputs"] if key.startswith("clips.")]) == clips
    assert len(run.entry["outputs"][check]["images"]) == 2  # the plot and the sheet
    (report,) = (node for node, about in graph.prompt.items() if about["inputs"].get("source") == [check, 4])
    (text,) = run.entry["outputs"][report]["text"]
    assert "no face" in text.splitlines()[0], text  # random networks paint noise
