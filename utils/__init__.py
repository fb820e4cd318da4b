"""The shared module: each file is a room with a name; see the README's section 'How it works'."""

import os

# The products of one step are small: NumPy's threads do not make them quicker, and on a busy machine they wait for each
# other, which takes ten times as long. NumPy reads this when it is first imported.
for setting in ("OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ.setdefault(setting, "1")
