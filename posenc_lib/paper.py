"""What the papers claim, as data, and the rule by which a page judges it.  Written before the run that it judges.

The one door to `iclr2020`, `iccv2021`, `iccv2021_augshift` and `iccv2021_channels`, and to what their claims share
(`claims`).
"""
import pandas as pd

from posenc_lib.claims import (
    IN_DIRECTION,
    NOT_PASSED,
    NOT_REPRODUCED,
    NOT_TESTABLE,
    NOT_TRIED,
    PASSED,
    REPRODUCED,
    Claim,
)
from posenc_lib.iccv2021 import (
    GAPNET_LOCATION,
    PADDED,
    PADDING_ARTIFACTS,
    PERMUTENET_IMAGE,
    PERMUTENET_LOCATION,
    PRETRAINED_LOCATION,
    TABLE1,
)
from posenc_lib.iccv2021_augshift import (
    AUGSHIFT_ACCURACY,
    AUGSHIFT_BLURPOOL,
    AUGSHIFT_CONSISTENCY,
    AUGSHIFT_SHIFTS,
    TABLE2,
)
from posenc_lib.iccv2021_channels import (
    CHANNELS_OVERALL,
    CHANNELS_REGION,
    DETECTORS,
    PEDESTRIANS,
    RELEASED,
    TABLE_S1,
)
from posenc_lib.iclr2020 import (
    POSENET,
    POSENET_AGAINST,
    POSENET_DEPTH,
    POSENET_PADDING,
    POSENET_READOUT,
    POSENET_SCRATCH,
    POSENET_SIZE,
    POSENET_TASK,
    TABLE5,
)

__all__ = [
    "AUGSHIFT_ACCURACY",
    "AUGSHIFT_BLURPOOL",
    "AUGSHIFT_CONSISTENCY",
    "AUGSHIFT_SHIFTS",
    "CHANNELS_OVERALL",
    "CHANNELS_REGION",
    "CLAIMS",
    "DETECTORS",
    "GAPNET_LOCATION",
    "IN_DIRECTION",
    "NOT_PASSED",
    "NOT_REPRODUCED",
    "NOT_TESTABLE",
    "NOT_TRIED",
    "PADDED",
    "PADDING_ARTIFACTS",
    "PASSED",
    "PEDESTRIANS",
    "PERMUTENET_IMAGE",
    "PERMUTENET_LOCATION",
    "POSENET",
    "POSENET_AGAINST",
    "POSENET_DEPTH",
    "POSENET_PADDING",
    "POSENET_READOUT",
    "POSENET_SCRATCH",
    "POSENET_SIZE",
    "POSENET_TASK",
    "PRETRAINED_LOCATION",
    "RELEASED",
    "REPRODUCED",
    "TABLE1",
    "TABLE2",
    "TABLE5",
    "TABLES",
    "TABLE_S1",
    "Claim", "pages_of",
]

# In the order of the pages.
CLAIMS = (PADDING_ARTIFACTS, POSENET_READOUT, POSENET_SIZE, POSENET_DEPTH, POSENET_PADDING, POSENET_TASK,
          POSENET_SCRATCH, GAPNET_LOCATION, PERMUTENET_LOCATION, PERMUTENET_IMAGE, PRETRAINED_LOCATION,
          AUGSHIFT_CONSISTENCY, AUGSHIFT_ACCURACY, AUGSHIFT_BLURPOOL, AUGSHIFT_SHIFTS, CHANNELS_OVERALL,
          CHANNELS_REGION, PEDESTRIANS)


def _of(frame: pd.DataFrame, *columns: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(", ".join(row) for row in frame[list(columns)].itertuples(index=False)))


# Every table of results, and every figure that stands in place of one: its rows.  A claim says which of them its page
# shows again.
TABLES: dict[str, tuple[str, ...]] = {
    **{f"ICLR 2020, {number if number.startswith('Fig') else f'Table {number}'}": _of(rows, "variant")
       for number, rows in POSENET.groupby("table", sort=False)},
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
