"""The arguments of a run, checked; run_all.sh does that before it sets anything up, with the standard library alone."""
import argparse
import ast
import json
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROFILES = ("smoke", "quick", "paper")
STANDARD = ("profile", "data_root", "out")  # parameters that every page has and that have options of their own
SUMMARIES = ("00", "99")  # start page and appendix, made from what the other pages found: the last to run
FILES = ("checkpoint", "released")  # parameters that name a file or folder; `pretrained` has NAME=FILE, with commas


def fail(sentence: str, code: int = 2):
    print(f"run_all.sh: {sentence}", file=sys.stderr)
    sys.exit(code)


def parse(argv: list[str]) -> argparse.Namespace:
    """-> profile, jobs, pages (those chosen, in the order to run), given (parameters by name), data_root ("": none was
    named), minutes (inf: none were given), base (the output folder), notebooks, book; all paths absolute.  Exits with
    one sentence and code 2."""
    parser = argparse.ArgumentParser(prog="run_all.sh", allow_abbrev=False, add_help=False)
    parser.error = lambda message: fail(f"{message}; ./run_all.sh help lists the options.")
    parser.add_argument("--profile", default="quick")
    parser.add_argument("--data", default=os.environ.get("POSENC_DATA", ""))
    parser.add_argument("--only", default="")
    parser.add_argument("-p", dest="given", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    parser.add_argument("--jobs", default="")
    parser.add_argument("--cluster", default=os.environ.get("POSENC_CLUSTER", ""))
    parser.add_argument("--minutes", default="inf")
    parser.add_argument("--out", default="")
    # for tests and for whoever has pages of their own
    parser.add_argument("--notebooks", type=Path, default=ROOT / "notebooks", help="another folder of pages")
    parser.add_argument("--book", type=Path, default=ROOT / "book", help="another Sphinx configuration")
    args = parser.parse_args(argv)

    if args.profile not in PROFILES:
        fail(f"there is no profile '{args.profile}'; there are {', '.join(PROFILES)}.")
    if args.jobs and (not args.jobs.isdecimal() or int(args.jobs) < 1):
        fail(f"--jobs takes a whole number from 1, not '{args.jobs}'.")
    args.data, args.out = map(os.path.expanduser, (args.data, args.out))  # no shell does that in --out=~/book
    if args.data and not Path(args.data).is_dir():
        fail(f"there is no data folder {args.data}; --data (or POSENC_DATA) names the folder that holds the data sets.")
    if args.cluster and not re.fullmatch(r"local:[1-9]\d*|(tcp|tls)://.+:\d+|slurm", args.cluster):
        fail(f"--cluster takes local:N, tcp://HOST:PORT or slurm, not '{args.cluster}'.")
    args.minutes = minutes(args.minutes)
    args.data_root = os.path.abspath(args.data) if args.data else ""  # "" is data/, or what is embedded
    args.base = Path(os.path.abspath(args.out)) if args.out else ROOT
    args.notebooks, args.book = args.notebooks.absolute(), args.book.absolute()
    args.given = dict(args.given)
    for name in STANDARD:
        if name in args.given:
            fail(f"-p {name} is not possible; use --{name.removesuffix('_root')}.")
    args.given = {name: located(name, value, args.data_root) for name, value in args.given.items()}
    for path in (str(ROOT), args.data_root, str(args.base), *args.given.values()):
        if path != path.encode(errors="replace").decode():
            fail(f"{path} has characters in its name that are not UTF-8; rename that file or folder.")
    args.pages = choose(sorted(args.notebooks.glob("[0-9][0-9]_*.py")), args)
    args.own_jobs, args.jobs = not args.jobs, int(args.jobs or default_jobs(args))
    return args


def located(name: str, value: str, data_root: str) -> str:
    """The value of a parameter, with the path of a file made absolute: pages run in their own folder."""
    if name in FILES and value:
        path = os.path.abspath(os.path.expanduser(value))
        if not os.path.exists(path):
            fail(f"-p {name}: there is no {path}; give a path that exists, absolute or from the folder you are in.")
        return path
    if name == "pretrained":
        entries = [entry.partition("=") for entry in value.split(",")]
        return ",".join(net + sign + located_weights(file, data_root) for net, sign, file in entries)
    return value


def located_weights(file: str, data_root: str) -> str:
    """A file of weights is one under weights/ of the data root, else one from where the user stands."""
    path = os.path.abspath(os.path.expanduser(file))
    return path if os.path.isfile(path) and not Path(data_root or ROOT / "data", "weights", file).is_file() else file


def extras(args: argparse.Namespace) -> list[str]:
    """The extras of pyproject.toml that a run needs."""
    return ["book", *["parquet"] * bool(args.data), *["cluster"] * bool(args.cluster)]


def minutes(text: str) -> float:
    """The length of a slice; inf where none was given."""
    try:
        if float(text) > 0:
            return float(text)
    except ValueError:
        pass
    return fail(f"--minutes takes a number above 0, fractions included, not '{text}'.")


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_jobs(args: argparse.Namespace, on_file: bool = False) -> int:
    """A page a core, at most four: these networks are small, and two threads train one hardly faster than one does.
    At the papers' own scale, which wants the whole GPU, one, unless pages only show what is on file."""
    pages = [page for page in args.pages if page.stem[:2] not in SUMMARIES]
    return 1 if args.profile == "paper" and not on_file else max(1, min(4, cores(), len(pages)))


def literal(text: str):
    """A Python literal as its value (3, [0, 1], None), anything else as the text it is."""
    try:
        return json.loads(json.dumps(ast.literal_eval(text)))  # (0, 1) -> [0, 1]; papermill would make it "(0, 1)"
    except (ValueError, SyntaxError, TypeError):
        return text


def choose(pages: list[Path], args: argparse.Namespace) -> list[Path]:
    """The pages that --only names, in order, the summaries last whether named or not."""
    if not pages:
        fail(f"there are no pages in {args.notebooks}; a page is called NN_name.py.")
    names = [name.strip() for name in args.only.split(",") if name.strip()]
    chosen = set()
    for name in names:
        found = [page for page in pages if name in (page.stem, page.stem[3:]) or name.zfill(2) == page.stem[:2]]
        if not found:
            fail(f"--only: there is no page '{name}'; there are {', '.join(page.stem for page in pages)}.")
        chosen.update(found)
    chosen = [page for page in pages if page in chosen or not names or page.stem[:2] in SUMMARIES]
    return sorted(chosen, key=lambda page: (page.stem[:2] in SUMMARIES, page.stem))


if __name__ == "__main__":
    args = parse(sys.argv[1:])
    print(*extras(args))
    print(args.base)
