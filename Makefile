# Every target makes the environment first when it is missing or its inputs have changed.
PYTHON ?= python3
ENVIRONMENT = .venv/installed

.PHONY: train test lint wheel clean

# GoogLeNet128 with batch norm on the drawn images of `shapes`, smaller than published to fit into minutes.
train: $(ENVIRONMENT)
	.venv/bin/python drivers/train.py --arch googlenet128 --normalization batch_norm_before \
	  --image_size 80 --batch_size 32 --epochs 2

test: $(ENVIRONMENT)
	.venv/bin/python -m pytest --numprocesses auto --quiet

lint: $(ENVIRONMENT)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

wheel: $(ENVIRONMENT)
	.venv/bin/pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf .venv build dist *.egg-info

$(ENVIRONMENT): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train,dev]'
	touch $@
