"""Score formats and the benchmark's frames, read as pieces."""

# Scores that music21 reads; it also reads analyses, scales and .md files, which are not music.
SCORE_ENDINGS = tuple(".xml .mxl .musicxml .abc .krn .mei .capx .nwc .nwctxt .musedata .vp .tntxt".split())
# Files that only the program that wrote them reads.
OWN_ENDINGS = tuple(".mscz .mscx .gp .gp3 .gp4 .gp5 .gpx .sib .mus .musx .dorico .ptb .ove .als .logicx".split())
OWN_FORMAT = "only the program that wrote it can read it: export it there as MusicXML or MIDI"
