# make demo: hear it. make test: check it. Both make the virtual environment first.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
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

$(VENV)/ready: requirements.txt
	test -e $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/ready-dev: requirements-dev.txt requirements.txt
	test -e $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(VENV)/ready
