"""Run the pages, then build the book.  Called by run_all.sh, which first makes the environment.

    notebooks/NN_name.py --papermill--> build/notebooks/NN_name.ipynb --sphinx--> book/_build/html/

A page runs as NN_name.partial.ipynb and gets its own name when its last cell has passed; the book is built aside and
swapped in when Sphinx has no complaint.  So whatever stands under a final name is whole, whenever a run was cut off.
"""
import ast
import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from math import inf
from pathlib import Path

# nbformat imports jsonschema, which spends seconds on compiling grammars for a format check that no notebook needs
sys.modules["rfc3987_syntax"] = None
import execute  # its import also registers the engine of papermill that knows gaps
import filelock
import jupytext
import kernels
import nbformat
import papermill
import psutil
from arguments import ROOT, STANDARD, SUMMARIES, cores, default_jobs, fail, literal, parse
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

sys.path.insert(0, str(ROOT))
from posenc_lib import __version__
from posenc_lib.base import git
from posenc_lib.base.checks import optional_packages  # like status, of the standard library alone
from posenc_lib.run import status

LIBRARY = sorted((ROOT / "posenc_lib").rglob("*.py"))   # what pages run and the API pages are made from


def prepare_output(args):
    """Create the folders that a run writes to."""
    try:
        for folder in ("build/notebooks", f"records/{args.profile}", f"figures/{args.profile}", "book/_build"):
            (args.base / folder).mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=args.base / folder).close()
    except OSError as error:
        fail(f"cannot write to {args.base} ({error.strerror}: {error.filename}); give --out another folder.")


def parameters(page: Path):
    """-> the page as a notebook, and what its cell tagged `parameters` sets: name -> the default's node.

    Read by `ast`, as papermill's own inspection loses a line with a second `=` in its comment.
    """
    notebook = jupytext.read(page)
    source = next((cell.source for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])), "")
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        fail(f"{page} has a mistake in its cell tagged `parameters`: {error.msg}, `{(error.text or '').strip()}`.")
    names = {target.id: statement.value for statement in statements for target in
             getattr(statement, "targets", [getattr(statement, "target", None)]) if isinstance(target, ast.Name)}
    if lacking := [name for name in STANDARD if name not in names]:
        fail(f"{page} has no parameter {', '.join(lacking)}; its cell tagged `parameters` needs {', '.join(STANDARD)}.")
    return notebook, names


def is_text(default) -> bool:
    """A parameter whose default is a text stays one: -p grids 3,5 is not a list."""
    return isinstance(default, ast.Constant) and isinstance(default.value, str)


class Page:
    """One page on its way from source to executed notebook."""

    def __init__(self, source: Path, args):
        self.source, self.args, self.name = source, args, source.stem
        self.failure, self.took = "", "unchanged"
        self.notebook, self.names = parameters(source)
        self.values = {"profile": args.profile, "data_root": args.data_root, "out": str(args.base),
                       **{name: value if is_text(self.names[name]) else literal(value)
                          for name, value in args.given.items() if name in self.names}}
        self.executed = args.base / "build" / "notebooks" / f"{self.name}.ipynb"
        self.partial = self.executed.with_suffix(".partial.ipynb")
        self.slices, self.gaps, self.spent = args.base / "build" / "slices" / self.name, [], []
        self.inputs = digest(self.values, args.on_file, contents([source, *LIBRARY, ROOT / "requirements.lock"]))

    def words(self) -> frozenset[str]:
        """The texts that parameters have, whole and between commas: names of data sets, NAME=FILE, paths."""
        defaults = {name: node.value for name, node in self.names.items() if is_text(node)}
        texts = [str(value) for name, value in {**defaults, **self.values}.items() if name not in STANDARD]
        return frozenset(word.strip() for text in texts for word in (text, *re.split("[,=]", text)) if word.strip())

    def unchanged(self) -> dict | None:
        """The stamp of the last run if another run would give the same page."""
        stamp = read_stamp(self.executed)
        current = self.inputs, files(self.args, self.words())
        same = stamp and (stamp["inputs"], stamp["files"]) == current and not self.stopped()
        return stamp if same and all((self.args.base / figure).exists() for figure in stamp["figures"]) else None

    def stopped(self) -> bool:
        """Whether some of its runs are left for another time budget."""
        states = [state for runs in status.load(self.slices).values() for state in runs]
        return not self.args.on_file and not all(state.on_file for state in states)

    def command(self) -> str:
        data = " --data DIR" if self.args.on_file else ""
        return f"./run_all.sh --profile {self.args.profile} --only {self.name[:2]}{data}"

    def write_stamp(self, seconds: float, files: str):
        figures = (self.args.base / "figures" / self.args.profile).glob(f"{self.name[:3]}*")
        stamp = {"profile": self.args.profile, "seconds": seconds, "inputs": self.inputs, "files": files,
                 "gaps": self.gaps, "spent": self.spent,
                 "figures": sorted(str(figure.relative_to(self.args.base)) for figure in figures)}
        fresh = self.executed.with_suffix(".json.new")
        fresh.write_text(json.dumps(stamp, indent=1), encoding="utf-8")
        os.replace(fresh, self.executed.with_suffix(".json"))

    def run(self) -> float:
        """Execute in a kernel of its own; -> seconds; `failure` is the report of a page that failed."""
        say(f"  {self.name} runs")
        ipc = {"transport": "ipc", "connection_file": f"{self.args.runtime}/{self.name[:2]}.json"}  # not open TCP
        sentence = f"Not run yet. {'On a machine with a GPU: ' if self.args.on_file else ''}`{self.command()}`"
        shutil.rmtree(self.slices, ignore_errors=True)
        start = time.monotonic()
        try:
            notebook = papermill.execute_notebook(
                self.notebook, self.partial, self.values, progress_bar=False, config=Config(KernelManager=ipc),
                engine_name="gaps", gaps=self.gaps, sentence=sentence, spent=self.spent,
                variables={"POSENC_PAGE": self.name},
                extra_arguments=["--IPKernelApp.log_level=50"],  # at its end a busy kernel may log the interrupt
                resources={"metadata": {"path": str(self.args.notebooks)}})  # the kernel's working directory
        except PapermillExecutionError as error:
            self.failure = self.report(error)
        except Exception as error:  # the kernel died or never started
            self.failure = f"{self.name} failed: {type(error).__name__}: {error}"
        seconds = round(time.monotonic() - start, 1)
        if self.failure:
            self.executed.with_suffix(".json").unlink(missing_ok=True)  # what it was before does not belong to the book
        else:
            self.write_stamp(seconds, files="")  # complete only when every page has written its records
            clean(notebook, self.partial)
            os.replace(self.partial, self.executed)
        self.took = f"{seconds:.1f} s"
        gaps = f", {len(self.gaps)} of its figures and tables not run yet" if self.gaps else ""
        say(f"  {self.name} {'FAILED after' if self.failure else 'took'} {self.took}{gaps}")
        return seconds

    def report(self, error) -> str:
        """The error's own sentence, the cell, the last lines of the traceback."""
        tagged = ["parameters" in cell.metadata.get("tags", []) for cell in self.notebook.cells]
        number = error.cell_index + (error.cell_index <= tagged.index(True))  # papermill put one cell in after it
        first = next((line for line in error.source.splitlines() if line.strip()), "")
        lines = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback)).splitlines()
        return "\n".join([f"{self.name} failed in cell {number}, `{first}`:", f"  {error.ename}: {error.evalue}",
                          *(f"    | {line}" for line in lines[-12:]),
                          f"  the page up to there: {self.partial}"])


def say(line: str):
    """One line in one write: pages that run side by side speak at once."""
    print(f"{line}\n", end="", flush=True)


def clean(notebook, path: Path):
    """Write the notebook without papermill's paths and times, its cell of absolute paths kept off the book."""
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata["tags"].append("remove-cell")
    nbformat.write(notebook, path)


def read_stamp(executed: Path) -> dict | None:
    """What is known of the run that made an executed page; None without it."""
    stamp = executed.with_suffix(".json")
    return json.loads(stamp.read_text(encoding="utf-8")) if executed.exists() and stamp.exists() else None


def contents(paths) -> list:
    return [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths if path.is_file()]


def digest(*parts) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


DEEP = {"camvid", "cityscapes"}   # sets that profiles choose and whose files lie more than two levels down


def files(args, words: frozenset[str]) -> str:
    """Digest of what pages read and write: records by content, data by name, size and times."""
    folders = (args.base / "records" / args.profile, ROOT / "records" / "cpu", ROOT / "records" / "paper")
    return digest(data_files(Path(args.data_root or ROOT / "data"), words),
                  [contents(sorted(folder.glob("*.jsonl"))) for folder in folders])


@cache   # as found at the start of a run: a page that ran while its data changed will run again
def data_files(root: Path, words: frozenset[str]) -> str:
    """Digest of all files of the sets and paths among `words`, and of two levels of the data root."""
    named = [path for word in sorted(words | DEEP) if os.path.exists(path := root / word)]
    return digest(entries(root, 2), [entries(path) for path in named])


def entries(path: Path, depth: float = inf, above: tuple = ()) -> list:
    """Name, size and times of a file, or of all that a folder contains down to `depth`; links are followed."""
    try:
        state = path.stat()
        this = state.st_dev, state.st_ino
        if not stat.S_ISDIR(state.st_mode) or depth == 0 or this in above:   # the last is a link to a folder above
            return [path.name, state.st_size, state.st_mtime_ns, state.st_ctime_ns]
        names = sorted(name for name in os.listdir(path) if not name.startswith("."))   # .DS_Store comes and goes
    except OSError:   # it is not there, or may not be read
        return [path.name]
    return [path.name, *(entries(path / name, depth - 1, (*above, this)) for name in names)]


def run_pages(args) -> list[Page]:
    """Run the selected pages, the index last, and print how each went."""
    pages = [Page(source, args) for source in args.pages]
    known = sorted({name for page in pages for name in page.names} - set(STANDARD))
    for name in args.given:
        if name not in known:
            fail(f"-p {name}: no chosen page has this parameter; they have {', '.join(known) or 'none to set'}.")
    logging.getLogger("papermill").setLevel(logging.ERROR)  # it warns of parameters that its own reader missed

    print(f"profile {args.profile}, {len(pages)} page(s), data in {args.data_root or 'the book itself'}", flush=True)
    if args.on_file:
        print("  no GPU here, so nothing is trained: the pages show the runs in records/paper", flush=True)
    ran = {}
    with kernels.preloaded(imports(page for page in pages if not page.unchanged())):
        for last in (False, True):  # the summaries, made from what the others found, after the others
            group = [page for page in pages if (page.name[:2] in SUMMARIES) == last]
            if last:
                os.environ |= states(args, pages)
                for page in group:
                    page.inputs = digest(page.inputs, states(args, pages), found(args))
            stale = []
            for page in group:
                if stamp := page.unchanged():
                    print(f"  {page.name} is unchanged (took {stamp['seconds']:.1f} s when it ran)", flush=True)
                else:
                    stale.append(page)
            stale.reverse()  # later pages take longer: begun last, one would run alone at the end
            with environment(args, "" if last or not stale else args.cluster), ThreadPoolExecutor(args.jobs) as pool:
                ran.update(zip(stale, pool.map(Page.run, stale), strict=True))
    for page, seconds in ran.items():
        if not page.failure:
            page.write_stamp(seconds, files(args, page.words()))
    return pages


# What the library imports when it is first needed, which is on most pages.
LATER = ("lightning.fabric", "lightning.fabric.plugins.environments", "sklearn.datasets", "sklearn.model_selection",
         "skimage.data", "torch._dynamo")


def imports(pages: Iterable[Page]) -> list[str]:
    """Modules that the pages import, each once, and those that the library imports later."""
    cells = [cell.source for page in pages for cell in page.notebook.cells if cell.cell_type == "code"]
    names = dict.fromkeys(name for source in cells for name in execute.imports(source))
    experiments = any(name.startswith("posenc_lib.experiments") for name in names)
    return [*names, *(LATER if experiments else ())]


def ready(args) -> list[Path]:
    """The executed pages of this profile, whether selected now or not; failed pages have none."""
    executed = [args.base / "build" / "notebooks" / f"{page.stem}.ipynb" for page in args.notebooks.glob("[0-9]*_*.py")]
    return [page for page in executed if (stamp := read_stamp(page)) and stamp["profile"] == args.profile]


def states(args, pages: list[Page]) -> dict[str, str]:
    """Environment variables that tell the start page which pages failed and which have no verdict in this book."""
    with_verdict = {page.stem for page in ready(args)
                    if f"tab-{page.stem[:2]}_against_paper" not in read_stamp(page).get("gaps", [])}
    every_page = {page.stem for page in args.notebooks.glob("[0-9]*_*.py") if page.stem[:2] not in SUMMARIES}
    return {"POSENC_FAILED": ",".join(sorted(page.name for page in pages if page.failure)),
            "POSENC_NOT_RUN": ",".join(sorted(every_page - with_verdict))}


def found(args) -> list:
    """What start page and appendix collect: the sources of the other pages, and their tables."""
    tables = (args.base / "figures" / args.profile).glob("*.csv")
    return contents(sorted(path for path in (*args.notebooks.glob("*.py"), *tables) if path.name[:2] not in SUMMARIES))


@contextlib.contextmanager
def environment(args, spec: str):
    """The environment that kernels inherit, with a cluster for their runs if one is requested."""
    os.environ |= {"JUPYTER_PREFER_ENV_PATH": "1", "POSENC_HEADLESS": "1", "POSENC_CLUSTER": "",
                   "POSENC_UNTIL": str(args.until)}
    with contextlib.ExitStack() as stack:
        if spec:
            try:
                with optional_packages("cluster", "--cluster"):
                    from posenc_lib.run import cluster  # which takes seconds, for torch
                os.environ |= stack.enter_context(cluster.served(spec))
            except (OSError, ValueError, ModuleNotFoundError) as error:
                fail(str(error), 1)
            print(f"  runs go to {spec}", flush=True)
        threads = os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // args.jobs)))
        os.environ.setdefault("MKL_NUM_THREADS", threads)
        yield


# https://HOST/PATH.git, ssh://git@HOST:PORT/PATH or git@HOST:PATH; a user or token before the host is left out
REMOTE = re.compile(r"(?:(?:https?|ssh)://)?(?:[^@/]+@)?(?P<host>[\w.-]+\.\w+)(?::\d+(?=/))?[:/](?P<path>.+?)(?:\.git)?/?")
COMMITTED = re.compile(r"(?:figures/paper|reference)/(\w+\.png)")   # figures in the boxes and cards of the pages


def repository() -> str:
    """Web address of the repository that this checkout was cloned from; "" if it was from no such place, or no git."""
    found = REMOTE.fullmatch(git.output("config", "--get", "remote.origin.url"))
    return f"https://{found['host']}/{found['path']}" if found else ""


def build_book(args) -> Path:
    """Assemble the sources in build/book, build them in a separate folder, swap the result in; returns index.html."""
    build, html = args.base / "build", args.base / "book" / "_build" / "html"
    sources, fresh, old = build / "book", build / "html", build / "html.old"
    for folder in (sources, fresh, old):
        shutil.rmtree(folder, ignore_errors=True)
    not_book = shutil.ignore_patterns("_build", "__pycache__", "arguments.py", "check_environment.py",
                                      "execute.py", "make.py")
    shutil.copytree(args.book, sources, ignore=not_book)
    for folder in (sources, *filter(Path.is_dir, sources.rglob("*"))):
        folder.chmod(folder.stat().st_mode | stat.S_IWUSR)   # those of a checkout may be read-only
    pages = ready(args)
    if all(page.name[:2] in SUMMARIES for page in pages):
        fail(f"a book of profile {args.profile} has no page yet except its index; select other pages too, or omit "
             "--only.", 1)
    for page in pages:
        shutil.copy2(page, sources)
    shutil.copytree(args.base / "figures" / args.profile, sources / "figures")
    (sources / "reference").mkdir()
    for figure in sorted({name for page in pages for name in COMMITTED.findall(page.read_text(encoding="utf-8"))}):
        shutil.copy2(ROOT / "figures" / "paper" / figure, sources / "reference")

    everything = sorted(path for path in sources.rglob("*") if path.is_file())
    key = digest(args.profile, repository(), contents([*everything, *LIBRARY, ROOT / "requirements.lock"]),
                 [str(path) for path in everything])
    stamp = build / "book.sha256"
    if not (html.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == key):
        done = subprocess.run(  # no incremental builds: Sphinx reports a warning only once
            [sys.executable, "-m", "sphinx", "-q", "-n", "-W", "--keep-going", "-b", "html",
             "-d", str(build / "doctrees"), "-E", str(sources), str(fresh)],
            env={**os.environ, "POSENC_PROFILE": args.profile, "POSENC_VERSION": __version__,
                 "POSENC_REPOSITORY": repository(), "LC_ALL": "C"},
            capture_output=True, encoding="utf-8", errors="replace")
        if done.returncode:
            fail(f"Sphinx reported problems, so the book in {html} was left unchanged:\n{done.stdout}{done.stderr}", 1)
        if html.exists():
            html.rename(old)
        fresh.rename(html)
        shutil.rmtree(old, ignore_errors=True)
        stamp.write_text(key, encoding="utf-8")
    return html / "index.html"


def main(argv: list[str]) -> int:
    args = parse(argv)
    prepare_output(args)
    args.on_file = args.profile == "paper" and no_gpu()
    if args.on_file and args.own_jobs:
        args.jobs = default_jobs(args, on_file=True)
    with tempfile.TemporaryDirectory(prefix="nb", dir="/tmp") as args.runtime:  # a socket's path must be short
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, frame: stop(number, args))
        lock = filelock.FileLock(args.base / "build" / ".lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            print(f"another run is active in {args.base}; waiting for it to finish", flush=True)
            lock.acquire()
        args.until = time.time() + 60 * args.minutes
        pages = run_pages(args)
        failures = {page.name: page.failure for page in pages if page.failure}
        if failures:
            print("\n" + "\n\n".join(failures.values()), file=sys.stderr, flush=True)
        failed = f"{len(failures)} of {len(pages)} page(s) failed"
        if len(failures) == len(pages) or any(name[:2] in SUMMARIES for name in failures):
            fail(f"{failed}, so the book was left unchanged.", 1)
        index = build_book(args)
    if args.minutes < float("inf"):
        print(left(args, pages))
    print("Pages:", ", ".join(f"{page.name} {page.took}" for page in pages))
    print(f"The book: {index.as_uri()}")
    if failures:
        fail(f"{failed}, and the book is without: {', '.join(failures)}.", 1)
    return 0


def left(args, pages: list[Page]) -> str:
    """After a time budget: what is complete, interrupted and left to do, by experiment."""
    experiments = {name: runs for page in pages for name, runs in status.load(page.slices).items()}
    if all(state.on_file for runs in experiments.values() for state in runs):
        return f"All runs of these pages are complete.\n{status.table(experiments)}"
    return f"After {args.minutes:g} minutes; run the same command again to continue.\n{status.table(experiments)}"


def no_gpu() -> bool:
    from posenc_lib.run.config import Workspace  # which takes seconds, for torch
    return Workspace("paper").on_file


def stop(number: int, args):
    """End at once, with every kernel, worker and job and their children; records and book stay intact."""
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    if args.cluster == "slurm" and (cluster := sys.modules.get("posenc_lib.run.cluster")):
        closing = threading.Thread(target=cluster.close, args=(args.cluster,), daemon=True)
        closing.start()
        closing.join(20)  # Slurm may not answer
    shutil.rmtree(args.runtime, ignore_errors=True)
    name = signal.Signals(number).name
    with contextlib.suppress(OSError):   # whoever read this may be gone
        print(f"\nrun_all.sh: stopped by {name}; run the same command again to continue.", file=sys.stderr, flush=True)
    os._exit(128 + number)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except OSError as error:
        reason = error.args[0][0][2] if isinstance(error, shutil.Error) else error   # of many files, the first
        fail(f"stopped by {type(error).__name__}: {reason}; if a disk is full, free some space and run the same "
             "command again to continue.", 1)
