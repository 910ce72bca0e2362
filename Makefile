# Every target sets up what it needs; run `make` for the list.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  \033[36m%-16s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Two stamps, so that the demo need not wait for linters and test tools.
$(VENV)/.venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; found $$($(PYTHON) --version). Point PYTHON at one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "could not make a virtual environment; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@touch $@

$(VENV)/.demo: pyproject.toml $(VENV)/.venv
	@echo "setting up $(VENV) (first time only) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.venv
	@echo "setting up $(VENV) with the test tools (first time only) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.demo

# The code generator lives apart: it is tied to one version of protobuf, the driver is not.
PROTO_BIN := .venv-proto/bin

.venv-proto/.proto: proto/requirements.txt | $(VENV)/.venv
	@echo "setting up .venv-proto (first time only) ..."
	@$(PYTHON) -m venv --clear .venv-proto
	@$(PROTO_BIN)/pip install --quiet --disable-pip-version-check --no-deps --requirement proto/requirements.txt
	@touch $@

# Writes csi_powerflex/pb below the folder $(1). The folder proto passes for csi_powerflex/pb, because the
# generated code imports its own messages by that path.
generate = $(PROTO_BIN)/python -m grpc_tools.protoc -Icsi_powerflex/pb=proto \
	--plugin=protoc-gen-mypy=$(PROTO_BIN)/protoc-gen-mypy --plugin=protoc-gen-mypy_grpc=$(PROTO_BIN)/protoc-gen-mypy_grpc \
	--python_out=$(1) --grpc_python_out=$(1) --mypy_out=quiet:$(1) \
	--mypy_grpc_out=quiet,only_sync,generate_concrete_servicer_stubs:$(1) csi_powerflex/pb/csi.proto

.PHONY: demo
demo: $(VENV)/.demo ## Walk a volume through its whole life on a simulated PowerFlex
	@$(BIN)/csi-powerflex demo

# As many processes as there are processors, four at most; one for single files, where starting others costs more
# than they save. See tests/distribution.py for what runs at the same time.
WORKERS ?= $(if $(findstring .py,$(ARGS)),0,auto)
# If a worker crashes, the run ends. With a new worker in its place, the others would wait without end.
distributed = -n $(WORKERS) --maxprocesses 4 --max-worker-restart 0 --dist loadscope --no-loadscope-reorder

.PHONY: test
test: $(VENV)/.dev ## Run the tests; what this machine cannot run is left out, and a table at the end says why
	@$(BIN)/pytest $(distributed) $(ARGS)

# What `make test` can use beyond Python, git and make: programs from Debian's packages, and two built with Go.
# FOR="e2e bare emulated" installs what the other tests need.
FOR ?= test
.PHONY: tools
tools: ## Install or build the tools without which some tests are left out (Debian or Ubuntu, root, Go)
	@$(PYTHON) -m tests.tools $(FOR)
	@$(if $(filter test,$(FOR)),$(go_tools))

go_tools = if command -v go >/dev/null; then $(MAKE) --no-print-directory $(CSI_SANITY) $(HELM) $(PROMTOOL); \
	else echo "csi-sanity, Helm and promtool are built with Go, and no go is in PATH: install Go 1.21 or newer, or add it to PATH, then run make tools again."; fi

# The flags are those of the end-to-end tests' builds, so that nothing is compiled a second time for them.
go_install = printed=$$(CGO_ENABLED=0 GOBIN="$(CURDIR)/.cache/bin" nice -n 10 go install -trimpath -ldflags='-s -w' $(1) 2>&1) || { echo "$$printed"; exit 1; }

CSI_SANITY := .cache/bin/csi-sanity

$(CSI_SANITY):
	@command -v go >/dev/null || { echo "csi-sanity is built with Go, which is not installed"; exit 1; }
	@echo "building csi-sanity (first time only, a minute or two) ..."
	@$(call go_install,github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity@v5.6.0)

.PHONY: sanity
sanity: $(VENV)/.dev $(CSI_SANITY) ## Run the official csi-sanity against the driver and a simulated array
	@$(BIN)/pytest $(distributed) -q tests/sanity $(ARGS)

HELM := .cache/bin/helm

$(HELM):
	@command -v go >/dev/null || { echo "helm is built with Go, which is not installed; or point HELM at one: make HELM=/usr/bin/helm ..."; exit 1; }
	@echo "building Helm (first time only, some minutes) ..."
	@$(call go_install,helm.sh/helm/v4/cmd/helm@v4.3.1)

PROMTOOL := .cache/bin/promtool

# Rules need no service discovery. Without it, the SDKs of the clouds are not compiled.
$(PROMTOOL):
	@command -v go >/dev/null || { echo "promtool is built with Go, which is not installed"; exit 1; }
	@echo "building promtool (first time only, some minutes) ..."
	@$(call go_install,-tags remove_all_sd github.com/prometheus/prometheus/cmd/promtool@v0.316.0)

.PHONY: deploy
deploy: $(VENV)/.dev $(HELM) ## Render the chart into the plain manifests of deploy/
	@$(BIN)/python deploy/render.py $(HELM)

.PHONY: model
model: $(VENV)/.dev ## Try 1,000 random sequences of calls against the model of CSI; takes minutes
	@MODEL_SEQUENCES=1000 $(BIN)/pytest -q tests/controller/test_model.py $(ARGS)

.PHONY: docs
docs: $(VENV)/.dev ## Write the reference pages that follow from the code
	@$(BIN)/python docs/generate.py
	@$(BIN)/python charts/reference.py
	@$(BIN)/python charts/definitions.py
	@$(BIN)/python charts/dashboard.py

# What decides about data: every line and branch of it has to be tested.
DATA_BEARING := $(addprefix csi_powerflex/,$(addsuffix .py,\
	$(addprefix operations/controller/,attachment cluster_nodes copies create_history creation deletion expansion group_snapshots \
	holding lookup matching modification move_checks moves new_volumes nvme_hosts ownership placement policy_departure qos routes running_moves \
	snapshot_policies snapshots trash trash_sweep volumes \
	$(addprefix inventory/,importing keeping orphans reading records release reverting undeleting)) \
	$(addprefix operator/,api rounds $(addprefix reverts/,reconciler targets work) \
	$(addprefix schedules/,cron reconciler retention work) \
	owned quantities sources windows/closing windows/handover movers/job movers/movers exports/reconciler exports/work \
	$(addprefix copies/,populating reconciler work) \
	$(addprefix images/,clones cloning making objects reconciler waiting work) \
	$(addprefix moves/,claimed copy_volumes reconciler work)) \
	$(addprefix operations/node/,device expansion filesystem_growth filesystem_state publishing release \
	shared_mount staging target_paths) \
	$(addprefix host/,blockdev btrfs filesystem fssize mountinfo mounts probe) \
	transport/registry transport/sdc/transport \
	$(addprefix transport/nvme/,connect device fabrics identity portals sysfs transport) \
	mover/copying mover/disk mover/formats mover/importing mover/mark mover/qemu \
	gateway/array gateway/codes gateway/convert gateway/identity \
	gateway/mapping gateway/nvme kube_objects/other_users model/format_options model/mount_options model/nvme model/publish_context \
	model/topology model/volume_context model/window ids names units))
comma := ,
space := $() $()

.PHONY: coverage
coverage: $(VENV)/.dev ## Run the tests and measure which lines and branches they reach
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest $(distributed) $(ARGS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report
	@echo "what decides about data, of which all has to be reached:"
	@$(BIN)/coverage report --include="$(subst $(space),$(comma),$(DATA_BEARING))" --fail-under=100

# The images, with labels for the version and the commit. A folder with changes that are not committed says so.
CONTAINER ?= docker
REGISTRY ?= localhost
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' csi_powerflex/_version.py)
REVISION = $(shell git describe --always --abbrev=40 --exclude '*' --dirty)
image_build = $(CONTAINER) build --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) $(if $(BASE),--build-arg BASE=$(BASE))

.PHONY: image
image: ## Build the images of driver, simulator, operator and mover; REGISTRY=registry.example.org, CONTAINER=podman, BASE=...
	$(image_build) --target driver --tag $(REGISTRY)/csi-powerflex:$(VERSION) $(ARGS) .
	$(image_build) --target simulator --tag $(REGISTRY)/csi-powerflex-simulator:$(VERSION) $(ARGS) .
	$(image_build) --target operator --tag $(REGISTRY)/csi-powerflex-operator:$(VERSION) $(ARGS) .
	$(image_build) --target mover --tag $(REGISTRY)/csi-powerflex-mover:$(VERSION) $(ARGS) .

.PHONY: sbom
sbom: ## Write what is in the driver's image to dist/sbom.json (CycloneDX), with the same settings as make image
	$(image_build) --target sbom --output dist $(ARGS) .

.PHONY: release
release: $(VENV)/.dev .venv-supply/.supply $(HELM) ## Check what a release needs, and show its commands; ARGS=--run also runs them. It publishes nothing
	@CONTAINER="$(CONTAINER)" REGISTRY="$(REGISTRY)" BASE="$(BASE)" $(BIN)/python -m tests.supply.release $(HELM) $(ARGS)

# pip-audit and uv live apart: what they bring is neither to be audited nor to be resolved with ours.
.venv-supply/.supply: | $(VENV)/.venv
	@echo "setting up .venv-supply (first time only) ..."
	@$(PYTHON) -m venv --clear .venv-supply
	@.venv-supply/bin/pip install --quiet --disable-pip-version-check pip-audit uv
	@touch $@

.PHONY: audit
audit: $(VENV)/.dev .venv-supply/.supply ## Look for known vulnerabilities in all that is installed
	@$(BIN)/python -m tests.supply.audit .venv-supply/bin/pip-audit $(ARGS)

.venv-lowest/.lowest: pyproject.toml .venv-supply/.supply
	@echo "setting up .venv-lowest with the oldest versions that pyproject.toml allows ..."
	@$(PYTHON) -m venv --clear .venv-lowest
	@.venv-supply/bin/uv pip install --quiet --python .venv-lowest --resolution lowest-direct --editable '.[dev,simulator,demo]'
	@touch $@

.PHONY: test-lowest
test-lowest: .venv-lowest/.lowest ## Run unit, contract and controller tests with the oldest versions allowed
	@# Without the long tests of interrupted calls and of a full array. They check the order of the driver's steps and
	@# its memory, and not the versions of dependencies.
	@.venv-lowest/bin/python -m pytest $(distributed) -q tests/unit tests/contract tests/controller --ignore tests/controller/test_interrupted_calls.py --ignore tests/controller/test_model.py --ignore tests/controller/test_memory_limit.py -k "not at_any_request" $(ARGS)

.PHONY: fuzz
fuzz: $(VENV)/.dev ## Send hostile input, thirty times as much as the tests do; takes many minutes
	@HOSTILE_FACTOR=30 $(BIN)/pytest --timeout=0 tests/hostile $(ARGS)

.PHONY: soak
soak: $(VENV)/.dev ## Lead 2,000 volumes through restarts, faults and a frozen minute; takes minutes
	@$(BIN)/python -m tests.soak $(ARGS)

.PHONY: test-emulated
test-emulated: $(VENV)/.dev ## Run what needs another kernel or NVMe/TCP, in an emulated machine; as root on Debian, minutes
	@tests/emulated/run

.PHONY: test-bare
test-bare: $(VENV)/.venv ## Try README's two commands on a minimal Debian with nothing else, as root and not (root, minutes)
	@$(BIN)/python -m tests.bare $(ARGS)

.PHONY: bench-node
bench-node: $(VENV)/.dev ## Measure the node, for about a minute; needs root. ARGS="--beside COMMIT" compares with an older state
	@$(BIN)/python -m tests.bench.node $(ARGS)

.PHONY: bench-node-start
bench-node-start: $(VENV)/.dev ## Measure start and memory of the node; ARGS="--beside COMMIT" compares with an older state
	@$(BIN)/python -m tests.bench.node_start $(ARGS)

.PHONY: bench-simulator
bench-simulator: $(VENV)/.dev ## Measure the simulator on this machine, for about a minute
	@$(BIN)/python -m tests.bench.simulator

.PHONY: bench-requests
bench-requests: $(VENV)/.dev ## Measure the processor time of one gateway request on this machine, for some seconds
	@$(BIN)/python -m tests.bench.posts $(ARGS)
.PHONY: bench-mover
bench-mover: $(VENV)/.dev ## Measure a full copy of 16 GiB with 1 GiB of data, compared with dd; needs root
	@$(BIN)/python -m tests.bench.mover

.PHONY: bench-memory
bench-memory: $(VENV)/.dev ## Measure memory and time of the controller's lists on full arrays, for some minutes
	@$(BIN)/python -m tests.bench.memory

.PHONY: bench-lives
bench-lives: $(VENV)/.dev ## Measure lives of volumes, for some minutes; ARGS="--beside COMMIT" compares with an older state
	@$(BIN)/python -m tests.bench.lives $(ARGS)

.PHONY: bench-scale
bench-scale: $(VENV)/.dev ## Measure 1,000 nodes and 10,000 volumes at one array, for some minutes; ARGS="--beside COMMIT" compares
	@$(BIN)/python -m tests.bench.scale $(ARGS)

.PHONY: check
check: $(VENV)/.dev .venv-proto/.proto ## Style, types, architecture, words, unused code, fresh generated code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	@# Once with everything, and once with the driver alone: a name that only the simulator uses is unused there.
	$(BIN)/vulture csi_powerflex tests/allowed_unused.py --exclude '*/pb/*'
	$(BIN)/vulture csi_powerflex tests/allowed_unused.py --exclude '*/pb/*,*/simulator/*,*/demo/*'
	$(BIN)/python docs/generate.py --check
	$(BIN)/python charts/reference.py --check
	$(BIN)/python charts/definitions.py --check
	$(BIN)/python charts/dashboard.py --check
	@new=$$(mktemp -d) && trap 'rm -rf "$$new"' EXIT && $(call generate,"$$new") && { diff --recursive --brief --exclude=__init__.py --exclude=__pycache__ csi_powerflex/pb "$$new/csi_powerflex/pb" || { echo "csi_powerflex/pb is not what proto/csi.proto generates: run make proto and commit the result"; exit 1; }; }

.PHONY: proto
proto: .venv-proto/.proto ## Generate csi_powerflex/pb from proto/csi.proto
	@$(call generate,.)

.PHONY: format
format: $(VENV)/.dev ## Format the code and fix what ruff can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: e2e
e2e: $(VENV)/.dev $(HELM) $(PROMTOOL) ## Run the scenarios in a real Kubernetes of two nodes on this machine (root, Go)
	@$(BIN)/python -m tests.e2e.run $(ARGS)

.PHONY: bench-e2e
bench-e2e: $(VENV)/.dev $(HELM) ## Measure claims and pods in that Kubernetes, and compare with a minimal driver
	@$(BIN)/python -m tests.e2e.run --capture=no tests/e2e/bench.py $(ARGS)

.PHONY: e2e-build
e2e-build: $(VENV)/.dev ## Build what make e2e runs, with the processor time that nothing else needs
	@nice -n 19 $(BIN)/python -m tests.e2e.build

# Quick suites on ext4 and block devices; ARGS="--help" lists more.
.PHONY: e2e-external
e2e-external: $(VENV)/.dev $(HELM) ## Run Kubernetes' own storage suites in that Kubernetes; ARGS=--all also slow ones (root, Go)
	@$(BIN)/python -m tests.e2e.external.run $(ARGS)

# The versions and hashes that the images are built from, for every platform and Python that we support.
UV := .venv-lock/bin/uv

.venv-lock/bin/uv: | $(VENV)/.venv
	@$(PYTHON) -m venv --clear .venv-lock
	@.venv-lock/bin/pip install --quiet --disable-pip-version-check 'uv>=0.9'

lock = $(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header

.PHONY: lock
lock: $(UV) ## Renew docker/*.lock: the newest packages that pyproject.toml allows
	@$(lock) pyproject.toml --output-file docker/driver.lock
	@$(lock) pyproject.toml --extra simulator --output-file docker/simulator.lock
	@$(lock) pyproject.toml --extra operator --output-file docker/operator.lock
	@$(lock) docker/build.in --output-file docker/build.lock
	@$(lock) docker/sbom.in --output-file docker/sbom.lock

.PHONY: clean
clean: ## Remove virtual environments and caches
	rm -rf .coverage .coverage.* .venv .venv-proto .venv-supply .venv-lowest .venv-lock .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
