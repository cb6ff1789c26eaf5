# Every command a developer runs. `make help` lists them, from the comments behind the targets.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin

# Tests and demos start many processes, which would each compile all that they import.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup clients-installed servers-installed demo test check sim clients clients-large golden conformance access-table faults fuzz audit format bench-dataplane bench-bounds bench-backends bench-failover bench-repair bench-replication bench-slowloris bench-swarm

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' | column -t -s'|'

setup: $(VENV)/ready ## make the virtual environment, locked

$(VENV)/ready: pyproject.toml uv.lock
	@scripts/make-venv $(PYTHON) $(VENV)
	@touch $@

clients-installed:
	@scripts/install-clients

servers-installed: setup
	@scripts/install-servers

demo: setup clients-installed ## a cluster, an image pushed by a stock client, pulled on three agents through the swarm
	$(RUN)/python examples/demo.py

test: setup clients-installed servers-installed ## every test this machine can run; says what it skipped and why
	$(RUN)/lint-imports
	$(RUN)/pytest --numprocesses 2 --dist loadfile

check: setup ## format, lint, types, import contracts, fast tests: under a minute
	$(RUN)/ruff format --check src tests examples bench
	$(RUN)/ruff check src tests examples bench
	$(RUN)/mypy
	$(RUN)/lint-imports
	$(RUN)/pytest --numprocesses 4 --dist loadfile tests/unit tests/model tests/scripts tests/sim tests/tidy

sim: setup ## a seeded swarm on virtual time; ARGS="--hosts 1000 --seed 7"
	@$(RUN)/octopull sim $(ARGS)

clients: setup clients-installed ## the matrix of real clients alone
	$(RUN)/pytest tests/clients

clients-large: setup clients-installed ## a layer of 5 GiB through proxy and agent: minutes, and 20 GB of disk
	OCTOPULL_LARGE=1 $(RUN)/pytest -o faulthandler_timeout=0 tests/clients -k gibibytes

golden: setup clients-installed ## record anew what real clients ask and are told: tests/golden
	PYTHONPATH=examples:tests $(RUN)/python tests/clients/record.py

conformance: setup ## the registry API against the specification's every requirement; writes docs/conformance.md
	$(RUN)/pytest tests/conformance
	PYTHONPATH=tests $(RUN)/python -m conformance.table

access-table: setup ## ask every endpoint as every kind of caller; writes docs/access-table.md
	PYTHONPATH=tests $(RUN)/python -m support.access_table

faults: setup clients-installed ## killed processes and damaged disks alone; as root, chaos by a seed: ARGS="--seed 7"
	$(if $(ARGS),PYTHONPATH=bench:tests $(RUN)/python -m support.chaos $(ARGS),$(RUN)/pytest tests/faults)

bench-dataplane: setup clients-installed ## the byte's way, each step against its rival; ARGS="--only serve"
	@scripts/install-clients --rivals
	PYTHONPATH=bench:examples:tests $(RUN)/python bench/dataplane.py $(ARGS)

bench-bounds: setup ## an agent's memory: a large blob, a thousand idle swarms, stalled readers
	PYTHONPATH=bench:examples:tests $(RUN)/python bench/bounds.py $(ARGS)

bench-backends: setup clients-installed ## a bucket: throughput, an origin's memory, cold pulls by eight agents, as root; ARGS="--only backend-get"
	PYTHONPATH=bench:examples:tests $(RUN)/python bench/backends.py $(ARGS)

bench-failover: setup ## pulls in the moment after an owner was killed or stopped; ARGS="--pulls 20"
	PYTHONPATH=bench:examples:tests $(RUN)/python bench/failover.py $(ARGS)

bench-repair: setup ## an origin's disk is lost, and filled again at the limit's rate; ARGS="--images 10"
	PYTHONPATH=bench:examples:tests $(RUN)/python bench/repair.py $(ARGS)

bench-replication: setup ## two clusters whose link is cut under load for ten minutes; ARGS="--cut 30s"
	PYTHONPATH=bench:examples:tests $(RUN)/python bench/replication.py $(ARGS)

bench-slowloris: setup ## requests beside 5,000 clients that never send a whole one; ARGS="--slow-clients 1000"
	PYTHONPATH=bench:examples:tests $(RUN)/python bench/slowloris.py $(ARGS)

bench-swarm: setup clients-installed ## N hosts pull one blob at once, against libtorrent and nginx, as root; ARGS="--hosts 8"
	@scripts/install-clients --rivals
	@$(RUN)/uv sync --quiet --locked --system-certs --group bench
	PYTHONPATH=bench:examples:tests $(RUN)/python bench/swarm.py $(ARGS)

fuzz: setup ## every parser of bytes from others, led by the code they reach; ARGS="--inputs 245000"
	@$(RUN)/uv sync --quiet --locked --system-certs --group fuzz
	PYTHONPATH=tests $(RUN)/python -m fuzz $(ARGS)

audit: setup ## known weaknesses of what is installed, by pip-audit; needs the network
	$(RUN)/uv export --quiet --no-dev --all-extras --no-emit-project --output-file .venv/audited.txt >/dev/null
	$(RUN)/uvx --quiet pip-audit --requirement .venv/audited.txt --require-hashes --disable-pip

format: setup ## format and mend what can be mended
	$(RUN)/ruff format src tests examples bench
	$(RUN)/ruff check --fix src tests examples bench
