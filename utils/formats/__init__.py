"""Score formats and the benchmark's frames, read as pieces."""

# Scores for music21, which also reads analyses, scales and .md: those are not music.
SCORE_ENDINGS = tuple(".xml .mxl .musicxml .abc .krn .mei .capx .nwc .nwctxt .musedata .vp .tntxt".split())
