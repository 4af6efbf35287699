"""Checks of a caller's arguments, and one-line error messages."""


def check_choice(name: str, value, choices):
    """Return `value` if it is one of `choices`; else raise a ValueError that lists them."""
    if value not in choices:
        raise ValueError(f"{name}: {value!r} is not supported; choose from {', '.join(map(repr, choices))}")
    return value


def one_line(error: BaseException) -> str:
    """Format an exception as its type and the first line of its message."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
