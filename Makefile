# Every target makes its environment first when it is missing or its inputs have changed.
PYTHON ?= python3
ENVIRONMENT = .venv/installed
BACKENDS = .venv-backends/installed
ADDONS = .venv-tfa/installed
BENCHMARKS = layers step training inference startup scaling
# A file's tests in one process: what they compile and train once is not made in each.
PROCESSES = --numprocesses auto --dist loadfile
# What knows no backend: these tests pass on all of them.
PORTABLE = $(wildcard tests/ops tests/layers tests/initializers tests/surgery tests/models tests/probe tests/parity \
  tests/properties tests/caffe) tests/test_examples.py::test_examples_of_docstrings

.PHONY: train study test test-faults serve-check test-backends test-tfa golden lint wheel bench bench-check clean

# GoogLeNet128 with batch norm on the drawn images of `shapes`, smaller than published to fit into minutes.
train: $(ENVIRONMENT)
	.venv/bin/python drivers/train.py --arch googlenet128 --normalization batch_norm_before \
	  --image_size 80 --batch_size 32 --epochs 2

test: $(ENVIRONMENT)
	.venv/bin/python -m pytest $(PROCESSES) --quiet

# Processes killed, disks filled, files damaged, workers lost.
test-faults: $(ENVIRONMENT)
	.venv/bin/python -m pytest --numprocesses auto --dist loadgroup --quiet tests/faults

# A study in minutes, on drawn images: trains four residual networks twice, and reports.
study: $(ENVIRONMENT)
	.venv/bin/python drivers/study.py residual_blocks --dataset shapes --image_size 16 --epochs 2 --seeds 2

# The sample SavedModel of the tree, loaded, and scored on the images beside it.
serve-check: $(ENVIRONMENT)
	.venv/bin/python tests/serving/sample.py

# Layers, training steps, training, inference, start and scaling beside the peers, into benchmarks/results: half an hour
# on a machine that does nothing else.
bench: $(ENVIRONMENT) $(BACKENDS)
	for name in $(BENCHMARKS); do .venv/bin/python -m benchmarks.$$name || exit; done
	.venv/bin/python -m benchmarks.table

# A few cases of each, in minutes: what got worse by more than 15 % beside the peers.
bench-check: $(ENVIRONMENT) $(BACKENDS)
	for name in $(BENCHMARKS); do .venv/bin/python -m benchmarks.$$name --quick || exit; done
	.venv/bin/python -m benchmarks.check runs/benchmarks

# The portable half on JAX and on PyTorch, without TensorFlow; with them, parity with PyTorch and flax. JAX compiles each
# operation, for longer than it computes: without LLVM's costly passes the tests take a fifth less of the processor, and
# it builds no networks to count what does not depend on a backend.
test-backends: $(BACKENDS)
	XLA_FLAGS="--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true" KERAS_BACKEND=jax .venv-backends/bin/python -m pytest $(PROCESSES) --quiet --ignore tests/models/test_published_sizes.py $(PORTABLE)
	KERAS_BACKEND=torch .venv-backends/bin/python -m pytest $(PROCESSES) --quiet $(PORTABLE)

# The numbers of TensorFlow Addons in tests/golden: computed again and compared, or written.
test-tfa: $(ADDONS)
	.venv-tfa/bin/python tests/golden/addons.py --check

golden: $(ADDONS)
	.venv-tfa/bin/python tests/golden/addons.py

lint: $(ENVIRONMENT)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

wheel: $(ENVIRONMENT)
	.venv/bin/pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf .venv .venv-backends .venv-tfa build dist *.egg-info

$(ENVIRONMENT): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train,serving,onnx,litert,dev]'
	touch $@

# PyPI's torch brings several gigabytes of CUDA. Its CPU build comes with
# PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu before the command.
$(BACKENDS): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-backends
	.venv-backends/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	  keras jax torch flax pytest pytest-xdist hypothesis
	.venv-backends/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

# Addons ended with TensorFlow 2.15, which needs NumPy 1 and Python 3.11 or older.
$(ADDONS): tests/golden/constraints.txt
	$(PYTHON) -m venv .venv-tfa
	.venv-tfa/bin/pip install --quiet --disable-pip-version-check --requirement tests/golden/constraints.txt
	touch $@
