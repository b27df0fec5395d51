# Everything a newcomer needs: `make demo`, then `make test`. Only Python 3.11+ and make are assumed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)

.PHONY: demo test fast pure quick check environments documented audit dist bench performance paper site clean

demo: $(VENV)/run.stamp
	$(BIN)/servesim run experiments/demo.toml --out runs/demo --overwrite
	@echo "The run is in runs/demo: look at overview.png"

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -n auto

# The core compiled in place from the same files, by mypyc: two minutes, a C compiler, twice the speed. `make pure` undoes it.
fast: $(VENV)/dev.stamp
	SERVESIM_COMPILE=1 $(BIN)/python setup.py --quiet build_ext --inplace
	$(BIN)/servesim --version

pure:
	rm -rf build *__mypyc*.so $$(find simulator hardware_profiles -name '*.so')

# While one works: the laws at a fifth of their examples, the engine, and a third of the recordings, in half a minute.
quick: $(VENV)/dev.stamp
	HYPOTHESIS_PROFILE=few $(BIN)/python -m pytest -n auto -m "not slow" tests/laws tests/oracles tests/unit/test_engine.py

check: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The examples of Hypothesis are random here, and the same at each run of the tests.
bench: $(VENV)/dev.stamp
	HYPOTHESIS_PROFILE=random $(BIN)/python -m pytest -n auto -m hypothesis
	$(BIN)/python -m benchmarks

# Other Pythons, the lowest versions, no network, no home, other locales, ...: what is there is tried, the rest is named.
environments: $(VENV)/dev.stamp
	$(BIN)/python -m benchmarks.environments

# Every command of the documents, run in a copy of the project: some twenty minutes.
documented: $(VENV)/dev.stamp
	$(BIN)/python -m benchmarks.documented

# For a release: all that an installation is made of, with versions and hashes, and whether weaknesses of it are known.
audit: $(VENV)/dev.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --config-settings editable_mode=compat -e ".[release]"
	mkdir -p runs/release
	$(BIN)/uv pip compile --quiet pyproject.toml --universal --generate-hashes --no-header -o runs/release/requirements.lock
	$(BIN)/pip-audit --requirement runs/release/requirements.lock --disable-pip --require-hashes \
		--format cyclonedx-json --output runs/release/sbom.json
	@grep -q '"name": "numpy"' runs/release/sbom.json || (echo "nothing was looked up: no service of weaknesses here"; exit 1)

# For a release: the wheel and the sources, in dist; each is installed afresh and run from another folder.
dist: $(VENV)/dev.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --config-settings editable_mode=compat -e ".[release]"
	$(BIN)/uv build --quiet --out-dir dist
	$(BIN)/python -m benchmarks.environments wheel sources

# The pages of docs/ as a site with search and the Python API, in runs/site. Links that lead nowhere stop it.
site: $(VENV)/dev.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The site is in runs/site: open index.html, or with search: $(BIN)/python -m http.server -d runs/site"

# What docs/performance.md says, measured in full (some ten minutes on a machine that does nothing else), and written.
performance: $(VENV)/dev.stamp
	$(BIN)/python -m benchmarks.performance

# Every figure and claim of the paper, tested in full (some forty minutes), and docs/paper.md with its pictures anew.
paper: $(VENV)/run.stamp
	rm -rf $$(ls -d runs/reproduce/*/ 2>/dev/null | grep -v /cache/)  # of experiments that are no more
	$(BIN)/servesim reproduce all --out runs/reproduce
	rm -rf docs/paper && mkdir -p docs/paper
	cd runs/reproduce && cp -r $$(ls -d */ | grep -v cache) ../../docs/paper
	rm -f docs/paper/*/verdict.json
	sed -E 's#\]\(([A-Za-z0-9_]+)/#](paper/\1/#g; s#\]\(results.md\)#](paper/results.md)#' runs/reproduce/paper.md > docs/paper.md
	sed 's#](paper.md)#](../paper.md)#' runs/reproduce/results.md > docs/paper/results.md

# What others built (some fifteen minutes), or all schedulers against each other (ten), and the page with its pictures anew.
systems league: $(VENV)/run.stamp
	$(BIN)/servesim reproduce $@ --out runs/$@
	rm -rf docs/$@ && mkdir -p docs/$@
	cd runs/$@ && cp -r $$(ls -d */ | grep -v cache) ../../docs/$@
	rm -f docs/$@/*/verdict.json
	sed -E 's#\]\(([A-Za-z0-9_]+)/#]($@/\1/#g' runs/$@/$@.md > docs/$@.md

$(VENV)/run.stamp: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --config-settings editable_mode=compat -e .
	touch $@

$(VENV)/dev.stamp: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --config-settings editable_mode=compat -e ".[dev]"
	touch $@ $(VENV)/run.stamp

clean:
	rm -rf $(VENV) runs build dist *.egg-info
