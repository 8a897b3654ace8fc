from __future__ import annotations

import os
import sys
from contextlib import suppress
from threading import Event, Thread, get_native_id

import av
import pytest

from tests.unit.media.films import encoder
from wan_core.media.encoders import CODECS, configure
from wan_core.media.threads import ordinary_threads, thread_ids

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how a thread is scheduled")


def policies() -> set[int]:
    found = set()
    for thread in thread_ids():
        with suppress(ProcessLookupError):  # it has ended
            found.add(os.sched_getscheduler(thread))
    return found


@pytest.mark.parametrize("codec", CODECS)
def test_no_encoder_has_threads_more_urgent_than_its_caller(codec: str) -> None:
    if codec == "av1" and os.geteuid():
        pytest.skip("SVT-AV1 makes its threads urgent only where it may, for root: would prove that they are put back")
    assert policies() == {os.SCHED_OTHER}
    chosen = encoder(codec)
    context = av.CodecContext.create(chosen.name, "w")
    configure(context, chosen, frames=9)
    assert policies() == {os.SCHED_OTHER}


def start_in_batches(done: Event) -> int:
    """Makes this thread a batch job, and starts another that waits; returns its id."""
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    started = Thread(target=done.wait)
    started.start()
    return started.native_id


def test_the_caller_and_what_it_starts_keep_the_scheduling_whatever_happens() -> None:
    done, elder_done = Event(), Event()
    elder = Thread(target=elder_done.wait)
    elder.start()
    try:
        os.sched_setscheduler(elder.native_id, os.SCHED_BATCH, os.sched_param(0))
        with pytest.raises(OSError, match="no such encoder"), ordinary_threads():
            younger = start_in_batches(done)
            assert os.sched_getscheduler(younger) == os.SCHED_BATCH
            raise OSError("no such encoder")
        assert os.sched_getscheduler(get_native_id()) == os.SCHED_OTHER
        assert os.sched_getscheduler(younger) == os.SCHED_OTHER
        assert os.sched_getscheduler(elder.native_id) == os.SCHED_BATCH
    finally:
        done.set()
        elder_done.set()
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
