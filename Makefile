# make demo    set everything up, play one access end to end, stop. Behind an Azure Firewall, or on
#              AWS: make demo SCENE=firewall, make demo SCENE=aws; or: make demo -- --scene firewall
# make run     set everything up, start the local stack, stay until interrupted
# make test    set everything up, run all tests, in a new order each time; then again in the same:
#              PYTEST_ADDOPTS=--randomly-seed=<the seed it printed> make test
#              TEST_PROCESSES=0 make test runs the tests that wait for servers one at a time, not
#              one for each core; the others run beside them in any case (local/run_tests.py)
# make check   formatting, linting, types (of the page too), layers, words, CloudFormation templates
# make screenshots   pictures of every screen of the page into docs/images/all, and those that the
#              documentation shows into docs/images; needs chromium
# make soak    the long form of the fault tests
# make bench   measure against the obvious implementation
# make live    deploy into a subscription, measure what only Azure can show, remove everything:
#              make live SUBSCRIPTION=... LOCATION=...; without them: against the local stack.
#              BASTION=yes adds a Bastion host
# make live-clean   remove what a killed `make live` has left
# make lock    write the pinned requirements and their hashes anew from the input files

VENV ?= .venv
PYTHON = $(VENV)/bin/python
export JIT_VENV = $(VENV)

.PHONY: setup demo run test check checkov bench screenshots live live-clean lock soak format

setup:
	@sh local/setup.sh

# What follows `demo --` on the command line are words for it, and no targets.
ifeq (demo,$(firstword $(MAKECMDGOALS)))
DEMO_WORDS := $(wordlist 2,$(words $(MAKECMDGOALS)),$(MAKECMDGOALS))
ifneq (,$(DEMO_WORDS))
.PHONY: $(DEMO_WORDS)
$(eval $(DEMO_WORDS): ; @:)
endif
endif

demo: setup
	@$(PYTHON) -m local demo $(SCENE) $(DEMO_WORDS)

run: setup
	@$(PYTHON) -m local up

test: setup
	@$(PYTHON) -m local.run_tests

checkov: setup
	@test -x .venv-checkov/bin/checkov || { $(PYTHON) -m venv .venv-checkov && .venv-checkov/bin/pip install -qq --disable-pip-version-check checkov==3.3.30; }

bench: setup
	@$(PYTHON) -m bench

screenshots: setup
	@$(PYTHON) -m local.screenshots

live: setup
ifdef SUBSCRIPTION
	@$(PYTHON) -m tools.live run --subscription "$(SUBSCRIPTION)" --location "$(LOCATION)" $(if $(BASTION),--bastion) $(if $(FIREWALL),--firewall)
else
	@$(PYTHON) -m local.live run $(if $(BASTION),--bastion) $(if $(FIREWALL),--firewall)
endif

live-clean: setup
	@$(PYTHON) -m tools.live clean

soak: setup
	@JIT_SOAK=1 $(PYTHON) -m pytest tests/faults tests/clients/test_openapi_fuzz.py
	@JIT_SOAK=1 JIT_CASES=200000 $(PYTHON) -m pytest tests/judgement

check: setup
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m mypy
	@$(VENV)/bin/lint-imports --no-cache
	@$(PYTHON) -m tools.check_words
	@$(VENV)/bin/cfn-lint infra/aws/*.yaml
	@node_modules/.bin/tsc --project .

format: setup
	@$(PYTHON) -m ruff format .
	@$(PYTHON) -m ruff check --fix .

lock: setup
	@$(VENV)/bin/uv pip compile requirements.in --universal --python-version 3.11 --generate-hashes --quiet --output-file requirements.txt
	@$(VENV)/bin/uv pip compile requirements-dev.in --universal --python-version 3.11 --generate-hashes --quiet --output-file requirements-dev.txt
