"""What the papers claim, one module a page: its tables as printed, its claims, and the rules that judge them.

A rule is written before the run that it judges.  `CLAIMS` has every claim in the order of the pages: a new module's are
found by the name `CLAIMS` in it.
"""
from importlib import import_module
from pkgutil import iter_modules

import pandas as pd

from posenc_lib.claims.augshift import TABLE2
from posenc_lib.claims.claim import Claim
from posenc_lib.claims.gapnet_vs_permutenet import TABLE1
from posenc_lib.claims.pedestrian_detection import TABLE_S1
from posenc_lib.claims.posenet_readout import POSENET, TABLE5

_MODULES = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
CLAIMS: tuple[Claim, ...] = tuple(sorted((claim for module in _MODULES for claim in getattr(module, "CLAIMS", ())),
                                         key=lambda claim: claim.page))


def _of(frame: pd.DataFrame, *columns: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(", ".join(row) for row in frame[list(columns)].itertuples(index=False)))


# Every table of results, and every figure that stands in place of one: its rows.  A claim says which of them its page
# shows again.
TABLES: dict[str, tuple[str, ...]] = {
    **{f"ICLR 2020, {'Fig. 6' if table == 'fig6' else f'Table {table}'}": _of(rows, "variant")
       for table, rows in POSENET.groupby("table", sort=False)},
    "ICLR 2020, Table 5": _of(TABLE5, "variant"),
    "ICCV 2021, Table 1": _of(TABLE1, "padding_mode", "head"),
    "ICCV 2021, Table 2": _of(TABLE2, "method"),
    "ICCV 2021, Figs. 4 and 5": ("overall", "left", "right"),
    "ICCV 2021, Fig. S1": ("ResNet-18 for ImageNet", "ResNet-18 for segmentation"),
    "ICCV 2021, Fig. S2": ("ResNet-50", "BlurPool", "AugShift"),
    "ICCV 2021, Figs. S3 and S4": ("right", "left"),
    "ICCV 2021, Table S1": _of(TABLE_S1, "detector", "kind"),
}


def pages_of(table: str) -> list[str]:
    """The pages whose claims name a table of `TABLES`: one, as a test holds."""
    return sorted({claim.page for claim in CLAIMS if table in claim.tables})
