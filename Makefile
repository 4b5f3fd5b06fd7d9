# What CI runs is what a person runs. Everything is installed into .venv, with the versions of constraints.txt.
PYTHON ?= python3
BIN    := .venv/bin
# Plain `dagster` commands in this folder read .env: all of them share one history.
export DAGSTER_HOME := $(CURDIR)

.PHONY: azurite extension run dev test lint lint-extension format bench constraints clean help

NATIVE := build/extension/native/libonnxextension.so
SERVERS_LINUX := build/extension/linux/libonnxextension.so
SERVERS_WINDOWS := build/extension/windows/onnxextension.dll
EXTENSION_SOURCES := extension/CMakeLists.txt $(wildcard extension/cmake/* extension/src/*.?pp extension/src/*/*.?pp)
CPP := $(filter %.cpp %.hpp,$(EXTENSION_SOURCES)) $(wildcard extension/fuzz/*.cpp)

help:
	@echo "make run    sample data, score what is pending, show what stands in the pool"
	@echo "make dev    the Dagster UI on http://127.0.0.1:3000"
	@echo "make test   all tests;  make lint  linter and types;  make bench  speed and memory"

run: .venv/.run-installed .env
	$(BIN)/onnx-pipeline sample --keep
	$(BIN)/onnx-pipeline run

dev: .venv/.run-installed .env
	$(BIN)/onnx-pipeline sample --keep
	$(BIN)/dagster dev

# CI must have Azurite, the local Azure Blob server, and tests the extension as servers get it; a person without Node, CMake
# or a C++ compiler gets skips that say so.
COMPILER := $(and $(shell command -v cmake),$(shell command -v c++))
test: export ONNX_PIPELINE_TEST_EXTENSION ?= $(if $(CI),$(CURDIR)/$(SERVERS_LINUX))
test: .venv/.dev-installed $(if $(CI),.venv/.azurite-installed $(SERVERS_LINUX) $(SERVERS_WINDOWS),$(if $(COMPILER),$(NATIVE)))
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: .venv/.dev-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(CPP)

# Takes some minutes.
lint-extension: $(NATIVE) .venv/.dev-installed
	$(BIN)/clang-tidy -p $(dir $(NATIVE)) --quiet $(filter extension/src/%.cpp,$(CPP))

format: .venv/.dev-installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP)

bench: .venv/.dev-installed
	$(BIN)/python -m benchmarks

# The external language of SQL Server: for this machine, and for servers, which run on older systems and on Windows.
extension: $(NATIVE) $(SERVERS_LINUX) $(SERVERS_WINDOWS)

$(NATIVE): $(EXTENSION_SOURCES)
	cmake -S extension -B $(@D) >/dev/null
	cmake --build $(@D) --parallel 2

ZIG := $(BIN)/python -m ziglang c++ -std=c++17 -O3 -DNDEBUG -fvisibility=hidden -fvisibility-inlines-hidden -shared -s

$(SERVERS_LINUX): $(EXTENSION_SOURCES) | .venv/.dev-installed
	@mkdir -p $(@D)
	$(ZIG) -target x86_64-linux-gnu.2.28 -fPIC -Wl,--version-script=extension/cmake/exports.map $(filter %.cpp,$^) -o $@

$(SERVERS_WINDOWS): $(EXTENSION_SOURCES) | .venv/.dev-installed
	@mkdir -p $(@D)
	$(ZIG) -target x86_64-windows-gnu $(filter %.cpp,$^) -o $@

# Newest versions that fit pyproject.toml, for every supported Python; names no registry.
constraints: .venv/.dev-installed
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --universal --python-version 3.10 --extra ui --extra azure --extra azureml --extra extension --extra mssql \
		--extra remote --extra serving --extra dev --upgrade --quiet \
		--no-header --no-annotate --no-emit-index-url pyproject.toml --output-file constraints.txt

azurite: .venv/.azurite-installed

.venv/.azurite-installed: .venv/bin/python
	@command -v npm >/dev/null || { echo "Azurite needs Node with npm"; exit 1; }
	npm install --prefix .venv/azurite --no-audit --no-fund --silent azurite@3.37.0
	@touch $@

.env:
	@echo "DAGSTER_HOME=$(CURDIR)" > .env

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "onnx_pipeline needs Python 3.10 or newer; name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv .venv \
		|| { rm -rf .venv; echo "Python came without venv; on Debian and Ubuntu: apt install python3-venv"; exit 1; }

.venv/.run-installed: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ui]'
	@touch $@

.venv/.dev-installed: .venv/.run-installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ui,azure,mssql,serving,remote,dev]'
	@touch $@

clean:
	rm -rf .venv .env build/extension data history schedules storage logs .nux .telemetry .logs_queue
