"""The demo on a live host, with the trained miniatures: that a character stays can be seen and measured."""

from __future__ import annotations

from demo import workflow
from demo.run import run
from tests.host.live import Client, skip_without_trained

LEAST_GAIN = 0.3  # of the cosine to the portrait, in every shot


def test_the_actor_of_the_portrait_is_in_every_locked_shot_and_in_no_other(client: Client) -> None:
    skip_without_trained(workflow.CAST.of(workflow.shipped_workflow(workflow.COMPARISON)))
    rushes = run(client.url)
    for shot in rushes.shots:
        assert shot.locked.likeness is not None and shot.locked.found >= 0.95, shot.prompt
        assert shot.locked.likeness >= (shot.unlocked.likeness or 0.0) + LEAST_GAIN, shot.prompt
    assert rushes.wall_s < 120
