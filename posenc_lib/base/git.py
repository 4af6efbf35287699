"""What git knows of the project."""
import os
import subprocess
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def output(*command: str) -> str:
    """The output of a git command in the project's own repository; "" if it fails or there is none.

    There is none without git, in a copy without history, and in a checkout of another user, which git refuses.  Neither
    a repository around the project nor that of $GIT_DIR counts.
    """
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(["git", "-C", PROJECT, *command], capture_output=True, encoding="utf-8", errors="replace",
                              env={**variables, "GIT_CEILING_DIRECTORIES": str(PROJECT.parent)})
    except OSError:   # git is not installed
        return ""
    return done.stdout.strip()
