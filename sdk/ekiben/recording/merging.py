"""Read the segments of a folder as one, the oldest record first, whatever number of processes wrote them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from heapq import heappop, heappush, heappushpop, heapreplace
from pathlib import Path

from ekiben.recording.reading import read
from ekiben.recording.segments import Header, Record, name_of

SETTLED = 512  # so many later records are looked at before one is given: threads do not write in the very order of time
_Entry = tuple[int, str, int, Header, Record]


def merged(paths: Sequence[Path]) -> Iterator[tuple[Header, Record]]:
    """Give the records of segments in the order of their time, and hold few of them.

    A segment is opened when the others have come to the moment at which it was begun.

    Parameters
    ----------
    paths
        Segments, the oldest first.

    Raises
    ------
    IntegrityError
        If one is not as it was written.
    """
    early: list[_Entry] = []
    for entry in _by_turns(paths):
        if len(early) < SETTLED:
            heappush(early, entry)
        else:
            *_, header, record = heappushpop(early, entry)
            yield header, record
    while early:
        *_, header, record = heappop(early)
        yield header, record


def _by_turns(paths: Sequence[Path]) -> Iterator[_Entry]:
    """Take the segments' next records in turn, always the oldest."""
    waiting, n_taken = [(_begun_ns(path), path) for path in reversed(paths)], 0
    heads: list[tuple[int, int, Header, Record, Iterator[Record]]] = []
    while waiting or heads:
        while waiting and (not heads or waiting[-1][0] <= heads[0][0]):
            header, found = read(waiting.pop()[1])
            if (first := next(found, None)) is not None:
                heappush(heads, (first.ns, len(waiting), header, first, found))
        if not heads:
            continue
        _, place, header, record, found = heads[0]
        n_taken += 1
        yield record.ns, record.id, n_taken, header, record
        if (coming := next(found, None)) is None:
            heappop(heads)
        else:
            heapreplace(heads, (coming.ns, place, header, coming, found))


def _begun_ns(path: Path) -> int:
    """Read from a segment's name when it was begun; one that is called otherwise may hold any time."""
    try:
        return int(datetime.strptime(name_of(path)[:22], "%Y%m%dT%H%M%S-%f").replace(tzinfo=UTC).timestamp() * 1e9)
    except ValueError:
        return 0
