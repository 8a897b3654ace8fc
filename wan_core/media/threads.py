"""Threads of an encoder: how many, and no more urgent than those who called it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from logging import getLogger

THREADS = "/proc/self/task"  # on Linux: a folder for each thread of this process

FEWEST_X264, MOST_X264 = 4, 16  # left alone it takes three for every two processors, in any amount of memory
X264_BYTES = 2**28  # that its threads may take together
X264_BYTES_PER_PIXEL = 13  # that one thread takes: 12 MB of 720P

log = getLogger(__name__)


def x264_threads(picture_px: int) -> int:
    """One for each processor that this process may use, as far as there is room for their pictures."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    room = X264_BYTES // (X264_BYTES_PER_PIXEL * picture_px)
    return max(FEWEST_X264, min(usable, room, MOST_X264))


@contextmanager
def ordinary_threads() -> Iterator[None]:
    """Whatever happens inside, this thread keeps its scheduling, and threads that are started there get the same.

    SVT-AV1 gives its threads and the one that opens it the highest real-time priority wherever it may, as in a
    container that runs as root (svt_av1_enc_init of gitlab.com/AOMediaCodec/SVT-AV1). Nothing else would get a turn
    beside them, and every thread and process that the caller starts afterwards would inherit it. Only Linux lets one
    see and undo this.
    """
    if not os.path.isdir(THREADS):
        yield
        return
    own = _scheduling(0)
    earlier = thread_ids()
    try:
        yield
    finally:
        for thread in {0, *(thread_ids() - earlier)}:  # 0: this one
            try:
                if _scheduling(thread) != own:
                    os.sched_setscheduler(thread, own[0], os.sched_param(own[1]))
            except ProcessLookupError:
                log.debug("Thread %d has ended already.", thread)


def _scheduling(thread: int) -> tuple[int, int]:
    """The policy of a thread and its real-time priority, 0 without one; ``thread`` 0 is the calling one."""
    return os.sched_getscheduler(thread), os.sched_getparam(thread).sched_priority


def thread_ids() -> set[int]:
    """The threads of this process, as Linux numbers them."""
    return {int(name) for name in os.listdir(THREADS)}
