"""Checkpoints: written atomically, read without running what is in them."""
import io
import os
from contextlib import suppress
from glob import escape
from pathlib import Path
from uuid import uuid4
from zipfile import ZipFile, is_zipfile

import torch

from posenc_lib.base.checks import one_line


def save_atomically(state: dict, path: Path) -> None:
    """Write tensors and plain values so that `path` is either the old file or the whole new one.

    Each writer has a partial file of its own: a page may be begun again while a worker still trains the same run.
    OSError where it cannot be written, on a full disk say; `path` is then as it was.
    """
    partial = path.with_name(f"{path.name}.{uuid4().hex}.partial")
    content = io.BytesIO()
    torch.save(state, content)   # to a full disk, it would say "unexpected pos"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):   # another writer of this run has ended before, and taken this one's away
            os.replace(partial, path)
    except OSError as error:
        raise OSError(f"checkpoint: {path} cannot be written ({one_line(error)}); make room there, or give another "
                      f"folder, and run the same again: it goes on from the last that was") from None
    finally:
        with suppress(OSError):
            partial.unlink()
    _discard_partials(path)


def read(path: Path, device: torch.device | str = "cpu") -> dict:
    """What torch.save wrote, tensors and plain values only.

    ValueError where it is empty, or a checksum in it is wrong (torch.load reads changed bytes without a word); what
    else torch.load raises depends on the damage.
    """
    if not path.stat().st_size:
        raise ValueError("it is empty")
    if is_zipfile(path):   # since PyTorch 1.6
        with ZipFile(path) as parts:
            if damaged := parts.testzip():
                raise ValueError(f"the checksum of {damaged} in it is wrong")
    return torch.load(path, map_location=device, weights_only=True)


def discard(path: Path) -> None:
    """Remove a checkpoint, and what killed writers of it have left."""
    path.unlink(missing_ok=True)
    _discard_partials(path)


def _discard_partials(path: Path) -> None:
    for partial in path.parent.glob(f"{escape(path.name)}.*.partial"):
        partial.unlink(missing_ok=True)
