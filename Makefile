# Sets up the environment, and holds the developers' chores; the users' steps are invoke's: .venv/bin/invoke --list
.PHONY: setup rehearse test test-faults test-nodes test-browser bench lint readme readme-check screenshots lock requirements
.DELETE_ON_ERROR:
unexport PYTHONDONTWRITEBYTECODE # each package is compiled once, not by each process

PYTHON ?= python3
BIN := .venv/bin
SHELL_SCRIPTS := bootstrap/*.sh sandbox/bin/ssh tests/nodes/run tests/nodes/build tests/nodes/cell benchmarks/*.sh .ci/run

setup: requirements .venv/installed

rehearse: setup ## walk the README's whole path in the emulated AWS, and back
	@$(BIN)/invoke rehearse

test: setup ## the tests, which need neither root nor an AWS account
	@$(BIN)/pytest

test-faults: setup ## every task met by every fault at every call to AWS, of which `make test` has a sample
	@$(BIN)/pytest --every-fault tests/faults

test-nodes: setup ## the boot scripts on nodes that boot, with real Slurm; needs root
	@tests/nodes/run

test-browser: setup ## the page of `invoke picture` in a real Chromium, completion in bash and zsh
	@$(BIN)/pytest -c tests/browser/pytest.ini tests/browser

bench: setup ## what is fast, against what, into the README's table; ONLY=NAME for one comparison
	@command -v hyperfine >/dev/null || (apt-get update && apt-get install --yes hyperfine) >/dev/null 2>&1 \
	|| { echo "hyperfine is not installed, and takes the times: install it (Debian, Ubuntu and Homebrew have it), then run this again." >&2; exit 1; }
	@$(BIN)/python -m benchmarks $(ONLY)

lint: setup ## style and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/shellcheck $(SHELL_SCRIPTS)
	@$(BIN)/shfmt --diff --indent 2 --case-indent --binary-next-line $(SHELL_SCRIPTS)

readme: setup ## the outputs in README.md, from a rehearsal
	@$(BIN)/python -m scripts.readme_outputs

readme-check: setup ## a rehearsal, and that README.md shows what it prints
	@$(BIN)/python -m scripts.readme_outputs --check

screenshots: setup ## the pictures in README.md, from the page of a rehearsal, in a real Chromium
	@$(BIN)/python -m scripts.screenshots

lock: setup ## requirements.lock from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url --group dev pyproject.toml -o requirements.lock

requirements:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null \
	|| { echo "$(PYTHON) is not Python 3.10 to 3.13: install one, and name it, as in 'make PYTHON=python3.12 $(MAKECMDGOALS)'." >&2; exit 1; }
	@command -v node >/dev/null \
	|| { echo "Node.js is not installed, and pcluster needs it: install it from https://nodejs.org, then run this again." >&2; exit 1; }

# uv installs in a tenth of pip's time; pip installs uv, with the hashes of the same lock.
.venv/installed: requirements.lock | requirements
	@echo "Setting up .venv from requirements.lock ..."
	@$(PYTHON) -m venv --clear .venv
	@sed -n '/^uv==/,/# via/p' requirements.lock > .venv/uv.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement .venv/uv.lock
	@$(BIN)/uv pip sync --quiet --require-hashes --python $(BIN)/python requirements.lock
	@touch $@
