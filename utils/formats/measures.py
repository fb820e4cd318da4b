"""Where the bars of a music21 score are: the measures of its parts, its metres and its keys.

music21 counts quarter notes from the beginning of the first measure; here they become ticks from the bar line before.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

from music21 import base, stream
from music21.key import KeySignature
from music21.meter import TimeSignature

TICKS_PER_QUARTER = 3360  # 2^5 * 3 * 5 * 7: triplets, quintuplets and septuplets fall on whole ticks


def ticks(quarters: float) -> int:
    """Quarter notes -> ticks."""
    return round(quarters * TICKS_PER_QUARTER)


def moved(quarters: float, upbeat: int) -> int:
    """Quarter notes since the beginning -> ticks since the bar line before it. If the first measure lacks `upbeat`
    ticks at its beginning, all is later by that much; what stands at the beginning stands at the bar line."""
    return ticks(quarters) + upbeat if quarters else 0


def measures(part: stream.Stream) -> list[stream.Measure]:
    return list(part.getElementsByClass(stream.Measure))


def put_in_step(parts: list[stream.Stream]) -> None:
    """Let the measures of all parts begin at the same time, each as long as its metre says if any part with notes is,
    else as long as in most of these. In music21 a part may fall behind for good: a measure of rests is filled up to a
    whole bar even where the others have an upbeat, and one to which a file gives too much or too little stays so."""
    parts = [part for part in parts if measures(part)]
    columns = list(map(measures, parts))
    rows = list(zip(*columns, strict=False))
    if len(set(map(len, columns))) > 1 or all(len({m.offset for m in row}) == 1 for row in rows):
        return
    lengths = []
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        ends = [m.offset for m in following] if following else [m.offset + m.duration.quarterLength for m in row]
        spans = [end - m.offset for m, end in zip(row, ends, strict=True)]
        played = Counter(span for span, m in zip(spans, row, strict=True) if m.recurse().notes) or Counter([min(spans)])
        full = row[0].barDuration.quarterLength
        lengths.append(max(played, key=lambda span: (span == full, played[span], span)))
    at = 0
    for row, length in zip(rows, lengths, strict=True):
        for part, measure in zip(parts, row, strict=True):
            part.setElementOffset(measure, at)
        at += length


def marks(part: stream.Stream, kind: type[base.Music21Object]) -> Iterator[tuple[float, base.Music21Object]]:
    """(quarter notes, element) of all that is of a `kind` in a part. Looked up measure by measure, since music21 may
    use one object in several of them; then the object itself only knows the last."""
    found = measures(part)
    for element in [] if found else part.flatten().getElementsByClass(kind):
        yield element.offset, element
    for measure in found:
        for element in measure.getElementsByClass(kind):
            yield measure.offset + measure.elementOffset(element), element


def upbeat(parts: list[stream.Stream]) -> int:
    """The ticks that the first measure, as long as `put_in_step` has left it, lacks at its beginning."""
    columns = [column for column in map(measures, parts) if column]
    if not columns:
        return 0
    first = [column[0] for column in columns]
    end = min((column[1].offset for column in columns if len(column) > 1), default=first[0].duration.quarterLength)
    return ticks(min(first, key=lambda measure: abs(measure.duration.quarterLength - end)).paddingLeft)


def metres(parts: list[stream.Stream], upbeat: int) -> list[tuple[int, int, int]]:
    """(tick, numerator, denominator) of the metres. After a bar that is shorter or longer than its metre, such as a
    first ending, the metre stands again where the next full bar begins: there its bars are counted anew."""
    part, given = max(parts, key=lambda each: len(measures(each))), {}
    for at, time in marks(part, TimeSignature):
        # A MIDI file has one byte for the numerator, and a power of two as denominator.
        if 0 < time.numerator < 256 and time.denominator in (1, 2, 4, 8, 16, 32, 64):
            given[moved(at, upbeat)] = time
    found = measures(part)
    ends = [measure.offset + measure.duration.quarterLength for measure in found[-1:]]
    lines = [moved(at, upbeat) for at in [*(measure.offset for measure in found), *ends]]
    lengths, written, now, bar = {begin: end - begin for begin, end in pairwise(lines)}, [], None, 1
    for tick in sorted({*given, *lengths}):
        time = given.get(tick)
        changes = time is not None and (time.numerator, time.denominator) != now
        if changes:
            now, bar = (time.numerator, time.denominator), ticks(time.barDuration.quarterLength)
        if changes or (now and lengths.get(tick) == bar and (tick - written[-1][0]) % bar):
            written.append((tick, *now))
    return written


def keys(parts: list[stream.Stream], upbeat: int) -> list[tuple[int, int, int]]:
    """(tick, sharps, 1 if minor) of the keys, at sounding pitch: where parts differ, the one that most have. Drums and
    other parts without any have no say."""
    votes, minor = defaultdict(Counter), set()
    for part in parts:
        for at, key in marks(part, KeySignature):
            if key.sharps is not None and -7 <= key.sharps <= 7:
                votes[moved(at, upbeat)][key.sharps] += 1
                # Often only the first staff says so.
                minor |= {(moved(at, upbeat), key.sharps)} if getattr(key, "mode", None) == "minor" else set()
    chosen = [(tick, max(votes[tick], key=votes[tick].get)) for tick in sorted(votes)]
    every = [(*key, int(key in minor)) for key in chosen]
    return [new for before, new in pairwise([(), *every]) if new[1:] != before[1:]]
