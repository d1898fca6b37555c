# `make demo` and `make test` install and start whatever they need; `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
OLDEST_AIRFLOW := .build/matrix/airflow-2.11-cncf-kubernetes-10.20
UPSTREAM := .build/upstream/venv
SKYPILOT := .build/skypilot
# The newest SkyPilot with what it needs, but for any cloud: it is asked what it makes of task files.
SKYPILOT_VENV := .build/skypilot-venv
SKYPILOT_LOCK := $(lastword $(sort $(wildcard requirements/skypilot-0.*.txt)))

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 22

.PHONY: demo
demo: deploy ## run the quickstart DAG on a local Kubernetes and show what it does
	hack/demo

.PHONY: test
test: check test-oldest-airflow test-chart test-skypilot test-e2e ## all tests: lint, types, unit, chart, end to end on a local Kubernetes

.PHONY: check
check: lint types test-unit ## the inner loop: lint, types, unit tests

.PHONY: lint
lint: $(VENV)/installed ## ruff and shellcheck
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/shellcheck -x $$(git ls-files hack images .ci | xargs grep -lE '^#!.*(bash|sh)$$')

.PHONY: types
types: $(VENV)/installed $(SKYPILOT)/installed ## mypy, strict, with SkyPilot's own types
	$(BIN)/mypy

.PHONY: test-unit
test-unit: $(VENV)/installed $(SKYPILOT)/installed ## unit tests, without a cluster
	$(BIN)/pytest tests/unit -n auto

.PHONY: golden
golden: $(VENV)/installed $(SKYPILOT_VENV)/installed ## write what every operator sends anew, into tests/unit/k8s_sky_provider/golden, and the tables of commands in docs/operators.md; fails if that changes a file
	GOLDEN=rewrite $(BIN)/pytest tests/unit/k8s_sky_provider/test_golden.py tests/skypilot -k "golden or page" -q

.PHONY: test-oldest-airflow
test-oldest-airflow: $(OLDEST_AIRFLOW)/installed $(SKYPILOT)/installed ## unit tests on the oldest Airflow that is supported
	$(OLDEST_AIRFLOW)/bin/pytest tests/unit -n auto

.PHONY: test-matrix
test-matrix: $(VENV)/installed $(SKYPILOT)/installed ## tests on all versions of Airflow, SkyPilot and Kubernetes, into docs/versions.md; CELLS="name ..." for some
	$(BIN)/python hack/test_matrix.py $(CELLS)

.PHONY: test-chart
test-chart: $(VENV)/installed tools ## the chart as helm renders it
	$(BIN)/pytest tests/chart

.PHONY: test-skypilot
test-skypilot: $(VENV)/installed $(SKYPILOT_VENV)/installed ## what our operators and runner, and SkyPilot itself, make of 180 task files; its commands and options against the operators'
	$(BIN)/pytest tests/skypilot -q

.PHONY: test-e2e
test-e2e: $(VENV)/installed ## real DAGs on a local Kubernetes
	hack/deploy tests/e2e/dags
	$(BIN)/pytest tests/e2e -m "not slow"

.PHONY: test-fuzz
test-fuzz: $(VENV)/installed $(SKYPILOT)/installed ## 10,000 cases for each of what the unit tests give 200
	HYPOTHESIS_PROFILE=fuzz $(BIN)/pytest tests/unit/k8s_sky_provider/test_fuzz.py tests/unit/k8s_sky_provider/test_hostile_text.py -n auto

.PHONY: test-slow
test-slow: $(VENV)/installed test-fuzz test-upstream test-images ## what takes longer: fuzzing, KubernetesPodOperator's own tests, the images, end to end serving, a pool, more DAGs
	hack/deploy tests/e2e/dags
	$(BIN)/pytest tests/e2e -m slow

.PHONY: test-upstream
test-upstream: $(VENV)/installed $(UPSTREAM)/installed ## KubernetesPodOperator's own unit tests, on our classes
	$(BIN)/pytest -s tests/upstream/test_upstream.py

.PHONY: test-images
test-images: $(VENV)/installed ## build the images, and run in them what Apache's chart and the docs call
	$(BIN)/pytest -s tests/images

.PHONY: fault-table
fault-table: $(VENV)/installed ## run the tests that break things and write the table in docs/reliability.md
	hack/deploy tests/e2e/dags
	$(BIN)/pytest tests/e2e -m faults --fault-table

.PHONY: bench
bench: $(VENV)/installed $(SKYPILOT)/installed deploy ## measure, side by side in one run
	AIRFLOW_HOME=$(CURDIR)/.build/airflow AIRFLOW__LOGGING__LOGGING_LEVEL=WARNING PYTHONPATH=hack:tests $(BIN)/python -m benchmarks

.PHONY: bench-hostile-text
bench-hostile-text: $(VENV)/installed $(SKYPILOT)/installed ## the part of it that needs no cluster: what text that is made to hold a reader up costs
	AIRFLOW_HOME=$(CURDIR)/.build/airflow AIRFLOW__LOGGING__LOGGING_LEVEL=WARNING PYTHONPATH=hack:tests $(BIN)/python -m benchmarks.hostile_text

.PHONY: deploy
deploy: ## the local cluster with the chart and the example DAGs on it
	hack/deploy

.PHONY: cluster
cluster: ## start the local Kubernetes
	hack/cluster up

.PHONY: cluster-down
cluster-down: ## stop the local Kubernetes and all that runs on it
	hack/cluster down

.PHONY: images
images: cluster ## build and push the images
	hack/build-images

.PHONY: tools
tools: ## fetch kubectl and helm into .build/bin
	hack/tools

.PHONY: reference
reference: $(VENV)/installed ## write docs/reference.md from the docstrings
	AIRFLOW_HOME=$(CURDIR)/.build/airflow $(BIN)/python hack/reference.py

.PHONY: format
format: $(VENV)/installed ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/installed: requirements/dev.txt pyproject.toml hack/venv
	hack/venv $(VENV)
	@touch $@

$(SKYPILOT)/installed: $(wildcard requirements/skypilot-0.*.txt) hack/skypilot-source | $(VENV)/installed
	hack/skypilot-source $(BIN)/uv
	@touch $@

$(UPSTREAM)/installed: requirements/upstream.txt pyproject.toml hack/venv
	hack/venv $(@D) $<
	@touch $@

$(SKYPILOT_VENV)/installed: $(SKYPILOT_LOCK) hack/venv
	hack/venv $(@D) $< skypilot setuptools
	@touch $@

.build/matrix/%/installed: requirements/matrix/%.txt pyproject.toml hack/venv
	hack/venv $(@D) $<
	@touch $@
