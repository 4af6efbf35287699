"""Checks of a caller's arguments, and errors in one line."""




def check_choice(name: str, asked, choices):
    """`asked` if it is one of `choices`, else one sentence that says what there is."""
    if asked not in choices:
        raise ValueError(f"{name}: {asked!r} was asked for, but there are only {', '.join(map(repr, choices))}")
    return asked


def one_line(error: BaseException) -> str:
    """What an error says, in one line: its kind and its first line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
