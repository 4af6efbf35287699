"""The images that a page shows and computes with."""
from collections.abc import Mapping

from posenc_lib.base import progress
from posenc_lib.data import registry
from posenc_lib.data.files import Rectangle
from posenc_lib.data.imageset import Splits
from posenc_lib.run.config import Workspace


def load_for(workspace: Workspace, name: str, *, boxes: bool = False, size: int | Rectangle | None = None,
             validation: float = 0.1, seeds: Mapping[str, range] | None = None) -> Splits:
    """Load a data set from the workspace's data root, see `registry.load`.

    If the page only shows recorded results (`Workspace.on_file`), a missing data set is no error: bundled images stand
    in for it in the demonstrations, and a line says so.
    """
    try:
        return registry.load(name, workspace.data, boxes=boxes, size=size, validation=validation, seeds=seeds)
    except FileNotFoundError:
        if not workspace.on_file:
            raise
        splits = registry.stand_in(name, boxes=boxes, size=size)
        progress.log(f"{name} is not in the data folder; in the demonstrations, {splits.train.name} stand in for it")
        return splits
