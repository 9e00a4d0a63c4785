# Every target sets up what it needs. `make demo` and `make test` are all a newcomer has to know.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VALIDATORS := tests/validators
CHART_TOOLS := tests/chart

.DEFAULT_GOAL := help
.PHONY: image container-proof trial storage capacity help install install-dev install-train demo test test-heavy lint types contracts check bench durable bench-hooks bench-record cohort delivery-faults lock guide chart chart-odd proto clean faults sabotage fuzz load alerts soak sbom audit ray

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## Set up .venv with the program alone
install-dev: $(VENV)/.installed-dev $(VALIDATORS)/node_modules/.installed $(CHART_TOOLS)/node_modules/.installed ## Set up .venv with everything that tests need

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Trabecula needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml requirements.lock | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml requirements.lock | $(BIN)/python
	scripts/install-debian-packages.sh
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[dev,nnunet]'
	@touch $(VENV)/.installed $@

install-train: $(VENV)/.installed-train ## Add what training the models needs (models/training/README.md)
$(VENV)/.installed-train: pyproject.toml requirements.lock | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[train]'
	@touch $(VENV)/.installed $@

$(VALIDATORS)/node_modules/.installed: $(VALIDATORS)/package-lock.json | $(VENV)/.installed-dev
	@if command -v npm >/dev/null; then npm ci --prefix $(VALIDATORS) --no-audit --no-fund --loglevel=error; \
	else echo "NOT INSTALLED (no npm): the FHIR validators. Tests that need them will be skipped and say so." >&2; mkdir -p $(@D); fi
	@touch $@

$(CHART_TOOLS)/node_modules/.installed: $(CHART_TOOLS)/package-lock.json | $(VENV)/.installed-dev
	@if command -v npm >/dev/null; then npm ci --prefix $(CHART_TOOLS) --no-audit --no-fund --loglevel=error; \
	else echo "NOT INSTALLED (no npm): Helm. Tests of the chart will be skipped and say so." >&2; mkdir -p $(@D); fi
	@touch $@

demo: install ## Start the service, send it a phantom study, show the report
	$(BIN)/trabecula demo --out out/demo

test: install-dev ## Lint, check types and import contracts, run the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -m 'not heavy'

test-heavy: install-dev ## The proofs that take long: random kills of every part, storms, random faults of EHR and PACS
	$(BIN)/python -m pytest -m heavy

bench: install-dev ## Speed and memory against a peer architecture; density against known truth
	$(BIN)/python tests/benchmarks/end_to_end.py --out docs/benchmarks
	$(BIN)/python tests/benchmarks/phantoms.py --out docs/benchmarks
	$(BIN)/python scripts/write_capacity_plan.py

durable: install-dev ## A study through the durable service, stage by stage; one worker of many threads against many of one
	$(BIN)/python tests/benchmarks/durable.py --out docs/benchmarks
	$(BIN)/python scripts/write_capacity_plan.py

bench-record: install-dev ## The FHIR record with a hundred thousand results: how fast it answers
	$(BIN)/python tests/benchmarks/record.py --out docs/benchmarks

bench-hooks: install-dev ## CDS Hooks: latency in an open loop with a full store
	$(BIN)/python tests/benchmarks/hooks.py --out docs/benchmarks
	$(BIN)/python scripts/write_capacity_plan.py

ray: $(VENV)/.installed-archive ## Campaigns on a real Ray cluster of this machine, and results as Parquet: installs both (260 MB)
	$(BIN)/python -m pytest -q -m heavy tests/integration/archive
	$(BIN)/python -m pytest -q tests/unit/archive

$(VENV)/.installed-archive: pyproject.toml requirements.lock | $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[archive]'
	@touch $@

delivery-faults: install-dev ## Kill the delivering process at random, and strike every request with random faults
	$(BIN)/python -m pytest -m heavy tests/integration/delivery

faults: install-dev ## kill -9, full disks, clock jumps, races and more on the real service, over hundreds of studies
	$(BIN)/python tests/faults/run_faults.py --out docs/benchmarks

sabotage: install-dev ## Break a copy of the program on purpose: do the fault tests notice?
	$(BIN)/python tests/faults/sabotage.py --out docs/benchmarks

fuzz: install-dev ## A hundred thousand mutated DICOM instances, and odd files, calls and requests; half an hour, goes on where it stopped
	$(BIN)/python tests/fuzz/run_fuzz.py --out docs/benchmarks

load: install-dev ## Open-loop load on the service: uploads, studies per hour, latency, overload; six minutes
	PYTHONPATH=tests/faults $(BIN)/python tests/benchmarks/load.py --out docs/benchmarks
	$(BIN)/python scripts/write_capacity_plan.py

alerts: install-dev ## Alerts fired on purpose: a real Prometheus with the chart's rules at the real program
	$(BIN)/python -m pytest -q -m heavy tests/acceptance/test_alerts_fire.py

soak: install-dev ## An hour of steady load: memory, handles, threads
	PYTHONPATH=tests/faults $(BIN)/python tests/benchmarks/soak.py --out docs/benchmarks
	$(BIN)/python scripts/write_capacity_plan.py

cohort: install-dev ## Simulate patients anew; every calibration method against their truth
	$(BIN)/python tests/benchmarks/run_cohort.py --simulate --out docs/benchmarks

guide: install-dev ## Build the FHIR implementation guide, its examples and its page anew
	$(BIN)/python scripts/build_fhir_guide.py

chart: install-dev ## Write the Helm chart's schema and table anew, and what it renders
	$(BIN)/python scripts/write_helm_reference.py
	TRABECULA_UPDATE_GOLDEN=1 $(BIN)/python -m pytest -q tests/chart

chart-odd: install-dev ## Two thousand odd values for the Helm chart (an hour on two cores)
	$(BIN)/python -m pytest -q tests/chart/test_chart_odd.py -m heavy

sbom: install-dev ## Bill of materials (CycloneDX) of what runs, to out/sbom.cdx.json; docs/soup.md anew
	$(BIN)/python scripts/write_soup.py
	$(BIN)/python scripts/write_sbom.py --out out/sbom.cdx.json

audit: sbom ## Known vulnerabilities and what nobody maintains any more; bandit. Ends with 75 where no service can be reached
	$(BIN)/bandit -q -c pyproject.toml -r server/trabecula scripts
	$(BIN)/python scripts/audit.py --sbom out/sbom.cdx.json

proto: install-dev ## Generate the gRPC code from proto/
	scripts/generate_proto.sh

LOCK := $(BIN)/uv pip compile --universal --python-version 3.11 --no-header --no-emit-index-url --quiet
lock: ## Solve the versions in requirements.lock anew, and the image's, with hashes, from them
	$(BIN)/python -m pip install --quiet uv
	$(LOCK) pyproject.toml --extra dev --extra nnunet --output-file requirements.lock
	$(LOCK) pyproject.toml --extra otel --constraint requirements.lock --generate-hashes --no-annotate --output-file container/runtime.lock
	$(LOCK) container/build.in --constraint requirements.lock --generate-hashes --no-annotate --output-file container/build.lock

PYTHON_IMAGE ?=
IMAGE ?= trabecula:$(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' server/trabecula/__init__.py)
ENGINE ?= $(firstword $(foreach each,docker podman buildah,$(if $(shell command -v $(each)),$(each))))
image: ## Build the image: make image PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:...
	@case "$(PYTHON_IMAGE)" in *@sha256:*) ;; *) echo "Name the base by digest: make image PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:... (docs/containers.md says how to find it)" >&2; exit 2;; esac
	$(ENGINE) build $(if $(filter docker,$(ENGINE)),,--format docker) --file Containerfile --tag $(IMAGE) --build-arg PYTHON_IMAGE=$(PYTHON_IMAGE) \
	  --build-arg VERSION=$(lastword $(subst :, ,$(IMAGE))) --build-arg REVISION=$$(git rev-parse HEAD) --build-arg CREATED=$$(date -u +%Y-%m-%dT%H:%M:%SZ) $(IMAGE_ARGS) .

container-proof: install-dev ## Build the image with debootstrap and buildah, use it with runc (root on Debian; ten minutes)
	PYTHONPATH=tests/container:tests/faults $(BIN)/python tests/container/prove.py --out docs/benchmarks
	$(BIN)/python scripts/write_capacity_plan.py

trial: install-dev ## Follow the trial of docs/operations.md step by step
	$(BIN)/python -m pytest -m heavy tests/acceptance/test_trial.py

storage: install-dev ## Bytes that a study leaves in database and content store
	PYTHONPATH=tests/benchmarks $(BIN)/python tests/benchmarks/storage.py --out docs/benchmarks
	$(BIN)/python scripts/write_capacity_plan.py

capacity: install-dev ## Write the tables of docs/capacity.md anew
	$(BIN)/python scripts/write_capacity_plan.py

clean: ## Remove what was set up and made
	rm -rf $(VENV) $(VALIDATORS)/node_modules $(CHART_TOOLS)/node_modules out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
