"""Docstrings in the house style, as the reStructuredText that the book's API pages are built from.

    layers  names of layers               aligned lists: a name (or several), two spaces, an explanation;
            or None                       its continued lines are indented

        r_c = 1/N sum_n ...               indented blocks: literal

    >>> gap(f)                            examples
"""
import ast
import inspect
import re
import textwrap

ENTRY = re.compile(r"(?P<names>\w+(?:, \w+)*) {2,}(?P<text>\S.*)")
LITERAL = re.compile(r'(?<!`)"\w*"(?!`)')   # "layer4", but not quoted prose
NEW = ("Raises ", "Returns ", "Source: ", "ValueError ")   # lines that begin a paragraph
SPECIAL = re.compile(r"\||(?<=\w)_(?!\w)")   # |change| and x_ are markup in reStructuredText


def to_rst(lines: list[str]) -> list[str]:
    """Translate the lines of a docstring, without their common indentation."""
    out: list[str] = []
    for block in re.split(r"\n\s*\n", "\n".join(lines).strip("\n")):
        if block.startswith(">>>"):
            out += [*block.splitlines(), ""]
        elif block.startswith("    "):
            out += [".. code-block:: text", "", *textwrap.indent(textwrap.dedent(block), "    ").splitlines(), ""]
        else:
            out += _paragraphs(block.splitlines())
    return out


def _paragraphs(lines: list[str]) -> list[str]:
    """Prose, and lists of names as field lists in a container of class `names`."""
    out: list[str] = []
    kind = ""
    for line in lines:
        entry = ENTRY.fullmatch(line)
        now = "names" if entry or (kind == "names" and line.startswith(" ")) else "prose"
        if now != kind or line.startswith(NEW):
            out += ["", *[".. container:: names", ""] * (now == "names")]
        kind = now
        text = LITERAL.sub(r"``\g<0>``", SPECIAL.sub(r"\\\g<0>", (entry["text"] if entry else line).strip()))
        if entry:
            out += [f"    :{entry['names']}: {text}"]
        else:
            out += [" " * 8 * (now == "names") + text]
    return [*out, ""]


def translate(app, what: str, name: str, obj, options, lines: list[str]) -> None:
    """Sphinx's event `autodoc-process-docstring`."""
    lines[:] = to_rst(lines)


def as_written(app, what: str, name: str, obj, options, signature, returns) -> tuple[str, str | None] | None:
    """Sphinx's event `autodoc-process-signature`: annotations and defaults as in the source; none for a result."""
    if what == "class":
        if "__init__" not in vars(obj) or hasattr(obj, "__dataclass_fields__"):
            return "", None
        obj = obj.__init__
    elif what not in ("function", "method"):
        return None
    function = ast.parse(textwrap.dedent(inspect.getsource(obj))).body[0]
    arguments = function.args
    if arguments.args and arguments.args[0].arg == "self":
        del arguments.args[0]
    return f"({ast.unparse(arguments)})", function.returns and ast.unparse(function.returns)
