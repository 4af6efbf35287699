"""Execute a page some of whose runs are missing: their figures become placeholders, and execution continues.

A cell that raises `records.NotRun` is a gap.  The names it would have assigned are deleted from the kernel, so that no
later cell uses stale values; a cell that then fails on one of them is a gap, too.  Every figure and table that a gap
does not produce is replaced by a placeholder with the same label.  Any other error ends the page as usual.
"""
import ast
import os
import re
import symtable
from math import nan

import nbformat
import psutil
from IPython.core.inputtransformer2 import TransformerManager
from nbclient.exceptions import CellExecutionError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.log import logger

KINDS = {"show": "fig", "table": "tab", "against_paper": "tab"}   # the kind of output of these functions of `page`
NAME = re.compile(r"\d\d_[a-z0-9_]+")
PUT_OUT = re.compile(r"^:name: (\S+)$", re.MULTILINE)


def parsed(source: str) -> ast.Module:
    return ast.parse(TransformerManager().transform_cell(source))


def made(source: str, line: int = 1) -> set[str]:
    """Names that a cell assigns, in its statements from `line` on."""
    body = [statement for statement in parsed(source).body if statement.end_lineno >= line]
    table = symtable.symtable(ast.unparse(ast.Module(body, [])), "cell", "exec")
    return {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned()}


def imports(source: str) -> list[str]:
    """Modules that a cell imports, in order; of `from a import b` both a and a.b, which need not be one.

    None of a cell that is no Python: its page fails, and the error is reported, when it runs.
    """
    names: list[str] = []
    try:
        nodes = list(ast.walk(parsed(source)))
    except SyntaxError:
        return names
    for node in nodes:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def labels(source: str, page: str) -> list[str]:
    """Labels of the figures and tables that a cell outputs, in order, by `page.show` and the like or by a function of
    the page that calls one of these.

    page  all code of the page
    A name that is not an argument of such a call, as in a loop over names, belongs to a call without a name.
    """
    kinds = dict(KINDS)
    for node in ast.walk(parsed(page)):
        if isinstance(node, ast.FunctionDef):
            inside = {KINDS[name] for call in _calls(node) if (name := _called(call)) in KINDS}
            kinds |= {node.name: inside.pop()} if inside else {}
    found, named = [], {}
    for statement in parsed(source).body:
        if isinstance(statement, ast.FunctionDef):
            continue
        calls = [call for call in _calls(statement) if _called(call) in kinds]
        named |= {id(node): kinds[_called(call)] for call in calls for node in call.args if _is_name(node)}
        open_ = [kinds[_called(call)] for call in calls if not any(map(_is_name, call.args))]
        others = {id(node) for call in _calls(statement) if _called(call) not in kinds for node in call.args}
        for node in ast.walk(statement):
            if _is_name(node) and id(node) not in others and (kind := named.get(id(node)) or next(iter(open_), "")):
                found.append((node.lineno, f"{kind}-{node.value}"))
    return list(dict.fromkeys(label for _, label in sorted(found)))


def _calls(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def _called(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def _is_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(NAME.fullmatch(node.value))


class Client(PapermillNotebookClient):
    """Papermill's client, for which a gap is not a failure; `gaps` collects the labels of missing figures and tables.

    sentence  text of a placeholder
    spent     collects the kernel's CPU seconds at the end of each cell, all threads and child processes together
    """

    def __init__(self, manager, *, gaps: list[str], sentence: str, spent: list[float], **options):
        super().__init__(manager, **options)
        self.gaps, self.sentence, self.spent, self.missing = gaps, sentence, spent, set()
        self.page = "\n".join(cell.source for cell in self.nb.cells if cell.cell_type == "code")

    def papermill_execute_cells(self):
        for index, cell in enumerate(self.nb.cells):
            try:
                self.execute_cell(cell, index)
                if self.missing and cell.cell_type == "code":
                    self.missing -= made(cell.source)
            except CellExecutionError as error:
                if not self.is_gap(error):
                    self.nb_man.cell_exception(self.nb.cells[index], cell_index=index, exception=error)
                    break
                self.fill(cell, index, error)
            finally:
                self.spent.append(self.cpu_seconds())
                self.nb_man.autosave_cell()   # every half minute, not before and after each cell

    def cpu_seconds(self) -> float:
        try:
            times = psutil.Process(self.km.provisioner.pid).cpu_times()
        except psutil.NoSuchProcess:   # the kernel died
            return nan
        return times.user + times.system + times.children_user + times.children_system

    def is_gap(self, error: CellExecutionError) -> bool:
        name = re.match(r"name '(\w+)' is not defined", error.evalue)
        return error.ename == "NotRun" or (error.ename == "NameError" and bool(name) and name[1] in self.missing)

    def fill(self, cell, index: int, error: CellExecutionError):
        """Keep the cell's output so far, add placeholders for the rest, and delete the names that it did not assign."""
        where = re.search(r"In\[\d+\], line (\d+)", re.sub(r"\x1b\[[0-9;]*m", "", error.traceback))
        names = made(cell.source, int(where[1]) if where else 1)
        self.missing |= names
        cell.outputs = [output for output in cell.outputs if output.output_type != "error" and
                        ("image/png" not in output.get("data", {}) or "text/markdown" in output["data"])]
        there = {label for output in cell.outputs
                 for label in PUT_OUT.findall(output.get("data", {}).get("text/markdown", ""))}
        left = [label for label in labels(cell.source, self.page) if label not in there]
        self.gaps += left
        reason = error.evalue if error.ename == "NotRun" else ""
        source = f"__import__('posenc_lib.show.page').show.page.not_run({left!r}, {self.sentence!r}, {reason!r})"
        if names:
            listed = ", ".join(sorted(names))
            source += f"\nglobals().update(dict.fromkeys({sorted(names)!r}))\ndel {listed}"
        hidden = nbformat.v4.new_code_cell(source)
        self.execute_cell(hidden, index, store_history=False)
        self.nb.cells[index] = cell
        cell.outputs += hidden.outputs


class Engine(NBClientEngine):
    """Papermill's engine with this client; `variables` are the kernel's own environment variables."""

    @classmethod
    def execute_managed_notebook(cls, manager, kernel_name, *, gaps, sentence, spent, variables, start_timeout=60,
                                 execution_timeout=None, input_path=None, **options):
        client = Client(manager, gaps=gaps, sentence=sentence, spent=spent, kernel_name=kernel_name, log=logger,
                        timeout=execution_timeout, startup_timeout=start_timeout, **options)
        return client.execute(env={**os.environ, **variables})


papermill_engines.register("gaps", Engine)
