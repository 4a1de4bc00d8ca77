# Targets for developers. The steps of the README are invoke tasks: .venv/bin/invoke --list
.PHONY: setup rehearse test test-lifecycle test-faults test-nodes test-browser bench lint readme readme-check screenshots lock requirements
.DELETE_ON_ERROR:
unexport PYTHONDONTWRITEBYTECODE # compile each package once, not in each process

PYTHON ?= python3
BIN := .venv/bin
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url
SHELL_SCRIPTS := bootstrap/*.sh sandbox/bin/aws sandbox/bin/ssh tests/nodes/run tests/nodes/build tests/nodes/cell benchmarks/*.sh .ci/run

setup: requirements .venv/installed

rehearse: setup ## run every step of the README in an emulated AWS, then remove everything; TEMPLATE=FILE for another template
	@$(BIN)/invoke rehearse $(if $(TEMPLATE),--template $(TEMPLATE))

test: setup ## run the tests; needs neither root nor an AWS account
	@$(BIN)/pytest --ignore=tests/lifecycle --ignore=tests/faults

test-lifecycle: setup ## create, change and delete whole clusters, by task and by hand; run a sample of the fault tests
	@$(BIN)/pytest tests/lifecycle tests/faults

test-faults: setup ## run every task with every fault at every call to AWS; `make test-lifecycle` runs a sample
	@$(BIN)/pytest --every-fault tests/faults

test-nodes: setup ## run the boot scripts on booted nodes with real Slurm; needs root
	@tests/nodes/run

test-browser: setup ## test the page of `invoke picture` in Chromium, and Tab in bash and zsh
	@$(BIN)/pytest -c tests/browser/pytest.ini tests/browser

bench: setup ## measure the times in docs/benchmarks.md; ONLY=NAME for one comparison
	@command -v hyperfine >/dev/null || (apt-get update && apt-get install --yes hyperfine) >/dev/null 2>&1 \
	|| { echo "hyperfine, which measures the times, is not installed. Install it from Debian, Ubuntu or Homebrew, then run this again." >&2; exit 1; }
	@$(BIN)/python -m benchmarks $(ONLY)

lint: setup ## check style and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/shellcheck $(SHELL_SCRIPTS)
	@$(BIN)/shfmt --diff --indent 2 --case-indent --binary-next-line $(SHELL_SCRIPTS)

readme: setup ## regenerate the outputs in README.md and docs/ from a rehearsal
	@$(BIN)/python -m scripts.readme_outputs

readme-check: setup ## run a rehearsal and compare its outputs with README.md and docs/
	@$(BIN)/python -m scripts.readme_outputs --check

screenshots: setup ## regenerate the pictures in README.md with Chromium
	@$(BIN)/python -m scripts.screenshots

lock: setup ## regenerate requirements.lock and requirements-aws.lock from pyproject.toml
	$(COMPILE) --group dev pyproject.toml -o requirements.lock
	$(COMPILE) --group by-hand --constraints requirements.lock -o requirements-aws.lock

requirements:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null \
	|| { echo "$(PYTHON) is not Python 3.10 to 3.13. Install one and pass it: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@command -v node >/dev/null \
	|| { echo "Node.js, which pcluster needs, is not installed. Install it from https://nodejs.org, then run this again." >&2; exit 1; }

# uv needs a tenth of pip's time. pip installs uv, with the hashes of the same lock.
# aws version 1 is only for the tests. Its program is removed: it would come before the user's own aws on PATH.
.venv/installed: requirements.lock requirements-aws.lock | requirements
	@echo "Setting up .venv from requirements.lock ..."
	@$(PYTHON) -m venv --clear .venv
	@sed -n '/^uv==/,/# via/p' requirements.lock > .venv/uv.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement .venv/uv.lock
	@$(BIN)/uv pip sync --quiet --require-hashes --python $(BIN)/python requirements.lock requirements-aws.lock
	@rm -f $(BIN)/aws $(BIN)/aws.cmd $(BIN)/aws_*
	@touch $@
