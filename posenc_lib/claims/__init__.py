"""The papers' claims, one module per page: printed tables, claims, and the rules that judge them.

Each claim says when its rules were fixed.  `CLAIMS`, `TABLES` and `pages_of` are those of `registry`, which
imports every page's experiment, and is itself imported when one of them is used.
"""
from importlib import import_module


def __getattr__(name: str):
    if name in ("CLAIMS", "TABLES", "pages_of"):
        return getattr(import_module(f"{__name__}.registry"), name)
    raise AttributeError(f"module {__name__} has no attribute {name}")
