# Every task of the project. `make help` lists them. Nothing has to be installed or active before,
# except Python 3.11, 3.12 or 3.13.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# CPU=1, for Linux without a GPU: PyTorch's CPU builds, from PyTorch's own index, at the same versions.
# The suffix +cpu is asked for by name, so that a missing build is an error and not 3 GB of CUDA.
CPU_INDEX := https://download.pytorch.org/whl/cpu
REQUIREMENTS := requirements.txt
ifeq ($(CPU),1)
  REQUIREMENTS := $(VENV)/requirements-cpu.txt
  PIP_EXTRA := --extra-index-url $(CPU_INDEX)
endif

# Where a class is kept: what was handed in, the grade book, the feedback.
CLASS ?= assignments/class
TEACH := $(BIN)/python assignments/tools/teach.py

NOTEBOOKS := $(shell find chapters -name '*.ipynb' -not -path '*/.ipynb_checkpoints/*' 2>/dev/null)
SITE := _build/html/index.html
NAME := _build/multi-task-learning-for-image-generation
ARCHIVE := $(NAME).zip
# Made by Sphinx below this folder, bound by book/tools/paper_pdf.py and paper_epub.py.
PAPER := _build/paper
# The book's public address, where _config.yml does not say it: buttons for Binder and Colab.
export REPOSITORY ?=

# Two processes side by side on two cores: one thread each is faster than four that wait.
export OMP_NUM_THREADS = 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help env book audit zip pages pdf epub links hosted release test claims lab notebooks \
  assignments grade feedback bench lint format clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'
	@echo "Options: CPU=1 (Linux, no CUDA packages), PYTHON=python3.12 (which Python to use), CLASS=folder,"
	@echo "         REPOSITORY=https://github.com/NAME/REPOSITORY (buttons that open chapters in Binder and Colab)"

env: $(STAMP) ## make the environment .venv, where it is missing or out of date

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "$(PYTHON) is `$(PYTHON) --version 2>&1`, wanted 3.11, 3.12 or 3.13: install one of" \
	    "them and say which, for example make book PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  echo "$(PYTHON) cannot make an environment: on Debian and Ubuntu, apt install python3-venv" >&2; \
	  rm -rf $(VENV); exit 1; }
	@sed -E 's/^(torch|torchvision)==([^ ]+)/\1==\2+cpu/' requirements.txt > $(VENV)/requirements-cpu.txt
	$(BIN)/python -m pip install $(PIP_EXTRA) -r $(REQUIREMENTS)
	$(BIN)/python -m pip install --quiet --no-deps -e .
	@touch $@

book: env ## build the site from the outputs stored in the chapters
	$(BIN)/jupyter-book build . --quiet -W -n --keep-going
	@$(BIN)/python -c 'from pathlib import Path; print("The book:", Path("$(SITE)").resolve().as_uri())'

zip: book ## the site as one file to open without a server, with its SHA-256 checksum
	$(BIN)/python book/tools/archive.py $(dir $(SITE)) $(ARCHIVE)

audit: book ## weigh every page, and score some with Lighthouse where Node.js is installed
	$(BIN)/python book/tools/audit.py $(dir $(SITE))

# What the PDF and the EPUB are made of.
pages: env
	@$(BIN)/jupyter-book build . --quiet -W -n --keep-going --builder custom --custom-builder paper \
	  --path-output $(PAPER)

pdf: pages ## the book to print, A4, with bookmarks; needs an installed Chromium
	@$(BIN)/python book/tools/paper_pdf.py $(PAPER)/_build/paper $(NAME).pdf

epub: pages ## the book for a reading device; needs an installed Chromium
	@$(BIN)/python book/tools/paper_epub.py $(PAPER)/_build/paper $(NAME).epub

links: env ## ask every other host that the book links to; needs a network
	$(BIN)/jupyter-book build . --quiet -W --keep-going --builder linkcheck --path-output _build/links

hosted: ## chapters for Colab, which install the library: make hosted REPOSITORY=... [PUSH=origin]
	$(PYTHON) book/tools/hosted.py --repository "$(REPOSITORY)" $(if $(PUSH),--push "$(PUSH)")

release: ## after make zip, pdf, epub: publish all three under a tag, on GitHub: make release TAG=v1.0
	gh release create "$(TAG)" --verify-tag --generate-notes \
	  $(foreach kind,zip pdf epub,$(NAME).$(kind) $(NAME).$(kind).sha256)

test: env ## library, structure of the chapters, every notebook run again and compared, the site
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not site"
	$(if $(NOTEBOOKS),PYTHONPATH=tests $(BIN)/python -m pytest -p notebook_comparison --nbval \
	  -n 2 --dist loadfile chapters,@echo "No chapter yet: no notebook to run.")
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m site

claims: env ## run the chapters with other seeds and compare the verdicts
	$(BIN)/python book/tools/claims.py

lab: env ## open the chapters in JupyterLab
	$(BIN)/jupyter lab --notebook-dir=chapters

notebooks: env ## run the chapters and store their outputs
	$(BIN)/python book/tools/pictures.py
	$(BIN)/python book/tools/notebooks.py -j 1

assignments: env ## check the problem sets and write a zip of each for students
	$(TEACH) release

grade: env ## grade what was handed in: make grade SET=ps1 SUBMISSIONS=folder-or-zip
	$(TEACH) grade --set "$(SET)" --submissions "$(SUBMISSIONS)" --class "$(CLASS)"

feedback: env ## after marking by hand: store the points, write feedback and grades again
	$(TEACH) feedback --class "$(CLASS)"

bench: env ## time the library's pieces on this machine
	$(BIN)/python benchmarks/run.py

lint: env ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: env ## put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## delete what was built; the environment stays, rm -rf .venv deletes it
	rm -rf _build .hypothesis .mypy_cache .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
