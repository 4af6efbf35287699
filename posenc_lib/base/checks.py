"""Checks of a caller's arguments and of optional packages, and one-line error messages."""
from collections.abc import Iterator
from contextlib import contextmanager


class Refused(ValueError):
    """What was wrong with a request, in one sentence, raised inside the forward pass of a user's network."""


def check_choice(name: str, value, choices):
    """Return `value` if it is one of `choices`; else raise a ValueError that lists them."""
    if value not in choices:
        raise ValueError(f"{name}: {value!r} is not supported; choose from {', '.join(map(repr, choices))}")
    return value


@contextmanager
def optional_packages(extra: str, purpose: str) -> Iterator[None]:
    """Import packages of one of the project's extras inside; a missing one is a ModuleNotFoundError that names both."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{purpose} needs {error.name}, which is not installed; install the project's extra: "
                                  f"pip install 'posenc-book[{extra}]'", name=error.name) from None


def one_line(error: BaseException) -> str:
    """Format an exception as its type and the first line of its message that is not empty, cut at 300 characters."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {line if len(line) <= 300 else line[:297] + '...'}"
