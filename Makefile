# make image   simulate a LOFAR observation and make its image: the demonstration, and what a run looks like
#              IMAGER=own or wsclean chooses the imager; auto takes WSClean where it is installed
# make test    everything that must hold: style, types, tests
# make docs    the pages as a site, in site/
VENV ?= .venv
DEMO ?= demo
IMAGER ?= auto
SOURCES = pyproject.toml tools/set-up $(wildcard requirements.lock)
TESTED = ata,imager,simulation,catalogue,lsmtool,dask,crate,askap,test

.PHONY: image test docs lint clean

image: $(VENV)/.ready-simulation,imager
	$(VENV)/bin/python tools/demonstration.py $(DEMO) --imager $(IMAGER)

test: $(VENV)/.ready-$(TESTED) lint
	$(VENV)/bin/python -m pytest --numprocesses 2 --dist worksteal

docs: $(VENV)/.ready-docs
	$(VENV)/bin/mkdocs build --strict

lint: $(VENV)/.ready-$(TESTED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

$(VENV)/.ready-%: $(SOURCES)
	tools/set-up $(VENV) $*
	touch $@

clean:
	rm -rf $(VENV) $(DEMO) site
