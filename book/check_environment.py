"""Does this Python have what the book needs?  Called by run_all.sh with the extras that are needed.

Looks up every requirement of pyproject.toml, then runs one torchvision operator, because a torch and a torchvision
that were not built for each other import (or half import) and fail only there.
"""
import contextlib
import hashlib
import sys
import sysconfig
import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REMEDY = ("install the pinned set (python -m pip install --require-hashes -r requirements-all.lock), "
          "or unset POSENC_PYTHON and let run_all.sh make .venv.")


def lacking(extras: list[str]) -> list[str]:
    """The requirements that are missing or of another version: `torch>=2.11,<2.13 (there is 2.10)`."""
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = sum((project["optional-dependencies"][extra] for extra in extras), project["dependencies"])
    found = []
    for requirement in map(Requirement, wanted):
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            found.append(str(requirement))
        else:
            if not requirement.specifier.contains(version, prereleases=True):
                found.append(f"{requirement} (there is {version})")
    return found


def main(extras: list[str]) -> None:
    """Exit with one sentence if something is missing; a check passed is remembered, importing torch takes seconds."""
    site = Path(sysconfig.get_path("purelib"))
    state = f"{sys.executable} {extras} {site.stat().st_mtime_ns} {(ROOT / 'pyproject.toml').read_bytes()}"
    key = hashlib.sha256(state.encode()).hexdigest()
    memory = ROOT / "build" / f"environment-{key[:12]}"
    if memory.exists():
        return
    try:
        missing = lacking(extras)
    except ImportError:
        missing = ["packaging, and so presumably most of the rest"]
    if missing:
        sys.exit(f"run_all.sh: {sys.executable} lacks {', '.join(missing)}; {REMEDY}")
    try:
        import torch
        import torchvision
        torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except Exception as error:
        sys.exit(f"run_all.sh: torch {metadata.version('torch')} and torchvision {metadata.version('torchvision')} in "
                 f"{sys.executable} do not fit each other ({str(error).strip().splitlines()[0]}); {REMEDY}")
    with contextlib.suppress(OSError):
        memory.parent.mkdir(exist_ok=True)
        memory.touch()


if __name__ == "__main__":
    main(sys.argv[1:])
