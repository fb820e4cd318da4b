# make demo: hear it. make test: check it. Both make the virtual environment first.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
# Any Python can run this, and ends with a sentence if the packages are not to be had for it.
CHECK := import sys; v = sys.version_info; bits = 64 if sys.maxsize > 2**32 else 32; \
	sys.exit(None if (3, 10) <= v[:2] <= (3, 14) and bits == 64 else "$(PYTHON) is Python %d.%d with %d bits, but the \
	packages need Python 3.10 to 3.14 with 64 bits: name one that you have, as in PYTHON=python3.12 make demo" \
	% (v[0], v[1], bits))
WEIGHTS := weights/music.weights.h5

.PHONY: demo test

demo: $(VENV)/ready
	@if [ -e midis/.filling ] || ! find midis -iname '*.mid' -o -iname '*.midi' -o -iname '*.kar' | grep -q .; then \
		echo "midis/ is empty: filling it with the Bach chorales of music21's corpus (once)"; \
		touch midis/.filling && $(RUN) convertmidis.py --corpus bach && rm midis/.filling; fi
	@if [ -e $(WEIGHTS) ]; then echo "$(WEIGHTS) is there already: not training again"; \
		else $(RUN) train.py --minutes 3; fi
	@$(RUN) generate_music.py --count 3 > $(VENV)/demo
	@$(RUN) predict_with_prior.py >> $(VENV)/demo
	@cat $(VENV)/demo
	@echo; echo "Hear the .wav and see the .png beside each of these, or open it in a music or notation program:"; \
		sed -n 's/^Wrote \(.*\.mid\):.*/    \1/p' $(VENV)/demo

test: $(VENV)/ready-dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pytest

$(RUN):
	@$(PYTHON) -c '$(CHECK)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/ready: requirements.txt requirements-base.txt | $(RUN)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/ready-dev: requirements-dev.txt requirements-jax.txt requirements.txt requirements-base.txt | $(RUN)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(VENV)/ready
