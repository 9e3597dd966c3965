"""Every example in the library's docstrings runs and prints what it says."""

import doctest
import importlib
import pkgutil
import types

import pytest

import mtl_lib

MODULES = [m.name for m in pkgutil.walk_packages(mtl_lib.__path__, "mtl_lib.")]
PUBLIC = [name for name in MODULES if not name.rpartition(".")[2].startswith("_")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    module = importlib.import_module(name)
    globs = {**vars(importlib.import_module("torch.nn")), **vars(module)}
    globs |= {"torch": importlib.import_module("torch"), "nn": importlib.import_module("torch.nn")}
    assert doctest.testmod(module, globs=globs, optionflags=doctest.ELLIPSIS).failed == 0


@pytest.mark.parametrize("name", PUBLIC)
def test_public_modules_and_what_they_make_public_are_documented(name):
    module = importlib.import_module(name)
    assert module.__doc__
    public = [getattr(module, entry) for entry in getattr(module, "__all__", ())]
    assert [p for p in public if isinstance(p, type | types.FunctionType) and not p.__doc__] == []
