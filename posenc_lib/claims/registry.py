"""All claims and all printed tables.  `CLAIMS` lists every claim in page order, collected from the `CLAIMS` of each
module, so a new page only has to define its own.
"""
from importlib import import_module
from pkgutil import iter_modules

import pandas as pd

from posenc_lib import claims
from posenc_lib.claims.augshift import TABLE2
from posenc_lib.claims.claim import Claim
from posenc_lib.claims.gapnet_vs_permutenet import TABLE1
from posenc_lib.claims.pedestrian_detection import TABLE_S1
from posenc_lib.claims.posenet_readout import POSENET, TABLE5

_MODULES = [import_module(f"{claims.__name__}.{module.name}") for module in iter_modules(claims.__path__)]
CLAIMS: tuple[Claim, ...] = tuple(sorted((claim for module in _MODULES for claim in getattr(module, "CLAIMS", ())),
                                         key=lambda claim: claim.page))


def _row_keys(table: pd.DataFrame, *columns: str) -> tuple[str, ...]:
    """Return the keys of a printed table's rows, their columns joined by slashes."""
    keys = table[list(columns)].drop_duplicates()
    return tuple("/".join(key) for key in keys.itertuples(index=False))


# The rows of every results table in the papers, and of every figure that stands in for one.  Each is reproduced on the
# page whose claims name it.
TABLES: dict[str, tuple[str, ...]] = {
    **{f"ICLR 2020, {f'Table {number}' if number[0].isdigit() else 'Fig. 6'}": _row_keys(rows, "variant")
       for number, rows in POSENET.groupby("table", sort=False)},
    "ICLR 2020, Table 5": _row_keys(TABLE5, "variant"),
    "ICCV 2021, Table 1": _row_keys(TABLE1, "padding_mode", "head"),
    "ICCV 2021, Table 2": _row_keys(TABLE2, "method"),
    "ICCV 2021, Figs. 4 and 5": ("overall", "left", "right"),
    "ICCV 2021, Fig. S1": ("ResNet-18 for ImageNet", "ResNet-18 for segmentation"),
    "ICCV 2021, Fig. S2": ("ResNet-50", "BlurPool", "AugShift"),
    "ICCV 2021, Figs. S3 and S4": ("right", "left"),
    "ICCV 2021, Table S1": _row_keys(TABLE_S1, "detector", "kind"),
}


def pages_of(table: str) -> list[str]:
    """Return the pages whose claims name a table of `TABLES`; there should be exactly one."""
    return sorted({claim.page for claim in CLAIMS if table in claim.tables})
