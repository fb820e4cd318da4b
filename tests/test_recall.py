"""What came next the last time, in whole pieces at once and event by event."""

import numpy as np

from utils import recall


def pieces(rng: np.random.Generator, sizes: list[int]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Random pieces of few classes, each with a start token and a passage that comes again."""
    first = np.concatenate([[0], np.cumsum(np.array(sizes) + 1)])
    classes = {name: rng.integers(0, 3, first[-1]) for name in recall.STREAMS}
    for start, size in zip(first[:-1], sizes, strict=True):
        for column in classes.values():
            column[start] = 9
            column[start + 1 + size // 2 : start + 1 + size // 2 + size // 3] = column[
                start + 1 : start + 1 + size // 3
            ]
    return classes, first


def slow_last_time(classes: dict[str, np.ndarray], start: int, at: int, streams: tuple[str, ...], length: int) -> int:
    """The distance to the last equal context, by looking at all of them."""

    def context(end: int) -> list:
        return [classes[stream][end - length + 1 : end + 1].tolist() for stream in streams]

    for back in range(1, at - start - length + 1):
        if context(at - back) == context(at):
            return back
    return 0


def test_the_last_time_is_found():
    classes, first = pieces(np.random.default_rng(1), [90, 4, 70])
    back = recall.last_times(classes, first)
    for start, end in zip(first[:-1], first[1:], strict=True):
        for at in range(start, end):
            for k, (streams, length) in enumerate(recall.CONTEXTS):
                assert back[at, k] == slow_last_time(classes, start, at, streams, length), (at - start, k)
    assert (back[:, recall.LENGTH == 16] > 0).any()


def test_event_by_event_it_is_the_same(monkeypatch):
    for reach in (4096, 40):
        monkeypatch.setattr(recall, "REMEMBERED", reach)
        size = 700  # more than a Past has room for at first
        classes, first = pieces(np.random.default_rng(2), [size] * 3)
        index = np.arange(first[-1])
        expected = recall.what_followed(classes, index, recall.last_times(classes, first))
        past = recall.Past.empty(3, tuple(classes))
        for t in range(1, size + 1):
            if t == 300:  # batches are stacked and taken apart
                past = recall.stack([past.take(slice(0, 2)), past.take(np.array([2]))])
            past, recalled = past.add({name: column[first[:-1] + t] for name, column in classes.items()})
            for name, followed in recalled.items():
                assert (followed == expected[name][first[:-1] + t]).all(), (t, name)


def test_pasts_of_different_lengths_are_stacked():
    classes, first = pieces(np.random.default_rng(3), [60, 60])

    def read(past: recall.Past, rows: np.ndarray, times: range) -> tuple[recall.Past, dict[str, np.ndarray]]:
        for t in times:
            past, recalled = past.add({name: column[rows + t] for name, column in classes.items()})
        return past, recalled

    empty = recall.Past.empty(1, tuple(classes))
    long, _ = read(empty, first[:1], range(1, 31))
    short, _ = read(recall.Past.empty(1, tuple(classes)), first[1:2], range(20, 31))
    _, alone = read(recall.Past.empty(1, tuple(classes)), first[1:2], range(20, 50))
    _, both = read(recall.stack([long, short]), first[:-1], range(31, 50))
    assert all((both[name][1] == alone[name][0]).all() for name in alone)
