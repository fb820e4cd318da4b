"""Score formats and the benchmark's frames, read as pieces."""

# Scores that music21 reads; it also reads analyses, scales and .md files, which are not music.
SCORE_ENDINGS = tuple(".xml .mxl .musicxml .abc .krn .mei .capx .nwc .nwctxt .musedata .vp .tntxt".split())
