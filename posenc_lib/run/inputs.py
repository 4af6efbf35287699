"""The data of a page."""
from collections.abc import Callable

from posenc_lib.base import progress
from posenc_lib.data.imageset import Splits, StandIn
from posenc_lib.data.registry import load, stand_in
from posenc_lib.run.config import Workspace


def load_for(workspace: Workspace, name: str, *, loader: Callable[..., Splits] = load,
             instead: Callable[..., StandIn] = stand_in, **options) -> Splits:
    """`loader` for a page.

    Where the page only shows what is on file (`Workspace.on_file`), a set that is not here is no error: `instead`
    makes what the page's parts by hand need, and a line says so.
    """
    try:
        return loader(name, workspace.data, **options)
    except FileNotFoundError:
        if not workspace.on_file:
            raise
        splits = instead(name, **options)
        progress.log(f"{name} is not under {workspace.data}; in the parts by hand, {splits.train.name} stand in for it")
        return splits
