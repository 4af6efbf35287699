"""Checkpoint files: written atomically, and read without executing anything they contain."""
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
    """Write tensors and plain values so that `path` is always either the old file or the complete new one.

    Each writer has its own partial file, because a page may be restarted while a worker still trains the same run.
    OSError if the file cannot be written, for example on a full disk; `path` is then unchanged.
    """
    partial = path.with_name(f"{path.name}.{uuid4().hex}.partial")
    content = io.BytesIO()
    torch.save(state, content)   # straight to a full disk, its error would be "unexpected pos"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):   # another writer of this run finished first and removed this partial file
            os.replace(partial, path)
    except OSError as error:
        raise OSError(f"checkpoint: {path} cannot be written ({one_line(error)}); free some space or choose another "
                      f"folder, and run the same command again: it resumes from the last checkpoint") from None
    finally:
        with suppress(OSError):
            partial.unlink()
    _discard_partials(path)


def read(path: Path, device: torch.device | str = "cpu") -> dict:
    """Load a file that torch.save wrote, tensors and plain values only.

    ValueError if it is empty or has a wrong checksum (torch.load reads corrupted bytes silently); other damage raises
    whatever torch.load raises.
    """
    if not path.stat().st_size:
        raise ValueError("it is empty")
    if is_zipfile(path):   # since PyTorch 1.6
        with ZipFile(path) as parts:
            if damaged := parts.testzip():
                raise ValueError(f"the checksum of {damaged} in it is wrong")
    return torch.load(path, map_location=device, weights_only=True)


def discard(path: Path) -> None:
    """Delete a checkpoint, and the partial files of writers that were killed."""
    path.unlink(missing_ok=True)
    _discard_partials(path)


def _discard_partials(path: Path) -> None:
    for partial in path.parent.glob(f"{escape(path.name)}.*.partial"):
        partial.unlink(missing_ok=True)
