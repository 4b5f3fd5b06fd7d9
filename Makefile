# What CI runs is what a person runs. Everything is installed into .venv, with the versions of constraints.txt.
PYTHON ?= python3
BIN    := .venv/bin
# Plain `dagster` commands in this folder read .env: all of them share one history.
export DAGSTER_HOME := $(CURDIR)
# A process that may keep no bytecode compiles this package anew: 0.5 s of each of the tests' hundreds of commands.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run dev prepared test test-fast test-nightly lint lint-extension format bench extension docs dist azurite constraints clean

NATIVE := build/extension/native/libonnxextension.so
SERVERS_LINUX := build/extension/linux/libonnxextension.so
SERVERS_WINDOWS := build/extension/windows/onnxextension.dll
EXTENSION_SOURCES := extension/CMakeLists.txt $(wildcard extension/cmake/* extension/src/*.?pp extension/src/*/*.?pp)
SERVERS_PYTHON := onnx_pipeline/engines/external/python_script.py
CPP := $(filter %.cpp %.hpp,$(EXTENSION_SOURCES)) $(wildcard extension/fuzz/*.cpp)

help: ## every target, from the comments behind them
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

run: .venv/.run-installed .env ## sample data, score what is pending, show what stands in the pool
	@echo "==> The sample's table in data/pool.duckdb (some seconds)"
	$(BIN)/onnx-pipeline sample --keep
	@echo "==> Scoring what is pending, with two models (ten seconds or twenty)"
	$(BIN)/onnx-pipeline run

dev: .venv/.run-installed .env ## the Dagster UI with daemon, at the URL that it prints, on this folder's history; ARGS="--port 3001" for another port
	$(BIN)/onnx-pipeline sample --keep
	$(BIN)/onnx-pipeline dev $(ARGS)

# CI must have Azurite, the local Azure Blob server, and tests the extension as servers get it (the one for Windows each
# night: it takes minutes to build); a person without Node, CMake or a C++ compiler, or on a Mac, gets skips that say so.
COMPILER := $(and $(filter Linux,$(shell uname -s)),$(shell command -v cmake),$(shell command -v c++))
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal
TESTED := $(if $(CI),.venv/.azurite-installed $(SERVERS_LINUX),$(if $(COMPILER),$(NATIVE)))
test test-nightly: export ONNX_PIPELINE_TEST_EXTENSION ?= $(if $(CI),$(CURDIR)/$(SERVERS_LINUX))
prepared: .venv/.dev-installed $(TESTED) ## what test runs on, installed and built

test: prepared ## all tests; this and lint is what CI runs
	$(PYTEST) -m "not nightly"

test-fast: .venv/.dev-installed ## what needs no process, server or compiler, in about two minutes
	$(PYTEST) -m "not slow and not nightly"

test-nightly: .venv/.dev-installed $(TESTED) $(if $(CI),$(SERVERS_WINDOWS)) ## the long sweeps, which test leaves out, and property tests with ten times the examples
	$(PYTEST) -m "nightly or hypothesis" --hypothesis-profile=nightly

lint: .venv/.lint-installed ## ruff (lint and format), mypy in strict mode, vermin for what an old Python runs, clang-format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/vermin --quiet --no-tips --violations --target=3.7- $(SERVERS_PYTHON)
	$(BIN)/clang-format --dry-run --Werror $(CPP)

lint-extension: $(NATIVE) .venv/.lint-installed ## clang-tidy over the extension; takes some minutes
	$(BIN)/clang-tidy -p $(dir $(NATIVE)) --quiet $(filter extension/src/%.cpp,$(CPP))

format: .venv/.lint-installed ## mend what ruff and clang-format can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP)

bench: .venv/.dev-installed $(if $(COMPILER),$(NATIVE)) ## speed and memory, against a floor of the same run; ARGS="--only scoring" for a part
	$(BIN)/python -m benchmarks $(ARGS)

# For servers too, which run on older systems and on Windows.
extension: $(NATIVE) $(SERVERS_LINUX) $(SERVERS_WINDOWS) ## SQL Server's external language, for this machine and for servers

$(NATIVE): $(EXTENSION_SOURCES)
	cmake -S extension -B $(@D) >/dev/null
	cmake --build $(@D) --parallel 2

ZIG := $(BIN)/python -m ziglang c++ -std=c++17 -O3 -ffp-contract=off -DNDEBUG -fvisibility=hidden -fvisibility-inlines-hidden -shared -s

$(SERVERS_LINUX): $(EXTENSION_SOURCES) | .venv/.dev-installed
	@mkdir -p $(@D)
	$(ZIG) -target x86_64-linux-gnu.2.28 -fPIC -Wl,--version-script=extension/cmake/exports.map $(filter %.cpp,$^) -o $@

$(SERVERS_WINDOWS): $(EXTENSION_SOURCES) | .venv/.dev-installed
	@mkdir -p $(@D)
	$(ZIG) -target x86_64-windows-gnu $(filter %.cpp,$^) -o $@

# For every supported Python; names no registry.
constraints: .venv/.dev-installed ## the newest versions that fit pyproject.toml
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --universal --python-version 3.10 --extra ui --extra azure --extra azureml --extra extension --extra gpu \
		--extra metrics --extra mssql --extra remote --extra serving --extra spark --extra kubernetes --extra container-apps \
		--extra dev --upgrade --quiet \
		--no-header --no-annotate --no-emit-index-url pyproject.toml --output-file constraints.txt

docs: .venv/.docs-installed ## the documentation as a site in build/site/html, with search; a link that leads nowhere fails
	$(BIN)/python tools/site.py

# Of the last commit's time: the same commit gives the same bytes.
dist: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct)
dist: .venv/.dist-installed ## wheel and sdist in dist/, the same bytes each time
	rm -rf dist
	$(BIN)/python -m hatchling build -d dist
	@cd dist && $(abspath $(BIN))/python -c 'import hashlib, pathlib; [print(hashlib.sha256(f.read_bytes()).hexdigest(), f) for f in sorted(pathlib.Path(".").iterdir())]'

azurite: .venv/.azurite-installed ## Azurite, the Azure Blob server of the tests; needs Node

.venv/.azurite-installed: .venv/bin/python
	@command -v npm >/dev/null || { echo "Azurite needs Node with npm"; exit 1; }
	npm install --prefix .venv/azurite --no-audit --no-fund --silent azurite@3.37.0
	@touch $@

.env:
	@echo "DAGSTER_HOME=$(CURDIR)" > .env

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "onnx_pipeline needs Python 3.10 or newer; name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "==> Making .venv, an environment for this folder alone, of $$($(PYTHON) --version) (some seconds)"
	@$(PYTHON) -m venv .venv \
		|| { rm -rf .venv; echo "Python came without venv; on Debian and Ubuntu: apt install python3-venv"; exit 1; }

.venv/.run-installed: .venv/bin/python pyproject.toml constraints.txt
	@echo "==> Installing onnx_pipeline and what it runs on into .venv: about 110 packages, 200 MB to download, 800 MB on disk"
	@$(INSTALL) -e '.[ui]'
	@rm -f $(BIN)/dg && printf "%s\n" "$$DG" > $(BIN)/dg && chmod +x $(BIN)/dg
	@touch $@

.venv/.dev-installed: .venv/.run-installed
	@echo "==> Installing drivers, Azure's clients, Spark and what tests and benchmarks need into .venv: about 170 packages more"
	@$(INSTALL) -e '.[ui,azure,metrics,mssql,serving,remote,spark,kubernetes,container-apps,test]'
	@touch $@

.venv/.lint-installed: .venv/.dev-installed
	@echo "==> Installing linters and the type checker into .venv"
	@$(INSTALL) -e '.[lint]'
	@touch $@

.venv/.docs-installed: .venv/.run-installed
	@echo "==> Installing what makes the documentation's site into .venv"
	@$(INSTALL) -e '.[docs]'
	@touch $@

.venv/.dist-installed: .venv/.run-installed
	@echo "==> Installing what builds wheel and sdist into .venv"
	@$(INSTALL) -e '.[dist]'
	@touch $@

# uv where there is one; it takes a tenth of the time. `make UV= run` does without.
UV ?= $(shell command -v uv)
INSTALL = $(BIN)/python tools/install.py $(if $(UV),--uv $(UV)) $(BIN)/python -c constraints.txt

# `dg` looks for `telemetry` in the dagster.yaml of the environment's DAGSTER_HOME and in its user's own dg.toml, not in
# pyproject.toml, and reads no .env. So the one in .venv names this folder, whose dagster.yaml says no.
define DG
#!/bin/sh
export DAGSTER_HOME="$${DAGSTER_HOME:-$(CURDIR)}"
exec "$(CURDIR)/$(BIN)/python" -c 'import sys; from dagster_dg_cli.cli import main; sys.argv[0] = "dg"; main()' "$$@"
endef
export DG

clean: ## remove what make made, data and history included
	rm -rf .venv .env build/extension build/site dist data history schedules storage logs .nux .telemetry .logs_queue .dev.json .dev.lock
