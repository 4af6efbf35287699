"""The command on readers' machines: their settings have no part in it, and it works from wherever it is called.

The interpreter of most tests is a fake that writes down its arguments and environment: no page runs.
"""
import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import make as book
import matplotlib.pyplot as plt
import pytest
from conftest import ROOT
from test_run_all import Tiny

from posenc_lib import __version__
from posenc_lib.base import git
from posenc_lib.data import registry
from posenc_lib.show import style

TOOLS = ("bash", "env", "cat", "dirname", "flock", "mkdir", "mktemp", "readlink", "sort", "tr")   # but no git
PYTHON = f"""#!{shutil.which("bash")}
log={{log}}
case "$*" in
    *"sys.version_info < "* | *"-m pip --version") exit 0 ;;
    *"sha256"*) exec {sys.executable} "$@" ;;
    *arguments.py*) echo book; echo {{out}} ;;
    *"-m pip config list") [ -z "${{{{PIP_USER:-}}}}" ] || exit 1
                           echo "global.user='true'"; echo "global.index-url='https://a.example/simple'"
                           echo "install.index-url='https://b.example/simple'"; echo ":env:.user='1'" ;;
    *) printf '%s\\n' "-- $*" >> "$log"; env >> "$log" ;;
esac
"""


def without_privileges() -> None:
    """Root, too, may then not write where nobody may."""
    for capability in (1, 2):   # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)   # PR_CAPBSET_DROP


class Machine:
    """A copy of the command with a fake Python, and a home."""

    def __init__(self, folder: Path):
        self.folder, self.log, self.project, self.home = folder, folder / "log", folder / "project", folder / "home"
        for path in (self.project / "book", self.project / "notebooks", self.home, folder / "out"):
            path.mkdir(parents=True)
        for name in ("run_all.sh", "pyproject.toml", "requirements.lock"):
            shutil.copy(ROOT / name, self.project)
        self.python = self.interpreter(folder / "bin" / "python3")

    def interpreter(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(PYTHON.format(log=self.log, out=self.folder / "out"))
        path.chmod(0o755)
        return path

    def __call__(self, *command, cwd: Path | None = None, script: Path | None = None, powerless=False, **variables):
        """-> the finished command, and (arguments, environment) of each call of Python."""
        self.log.unlink(missing_ok=True)
        variables = {"PATH": os.environ["PATH"], "HOME": str(self.home), "POSENC_PYTHON": str(self.python), **variables}
        done = subprocess.run([script or self.project / "run_all.sh", *command], cwd=cwd or self.folder, env=variables,
                              capture_output=True, text=True, preexec_fn=without_privileges if powerless else None)
        calls = self.log.read_text().split("-- ")[1:] if self.log.exists() else []
        return done, [(call.splitlines()[0], dict(line.partition("=")[::2] for line in call.splitlines()[1:]))
                      for call in calls]


@pytest.fixture
def machine(tmp_path) -> Machine:
    return Machine(tmp_path)


# ------------------------------------------------------------------------------------------ the reader's settings

OTHERS = {
    "PYTHONPATH": "/evil", "PYTHONHOME": "/evil", "PYTHONSTARTUP": "/evil.py", "PYTHONWARNINGS": "error",
    "PYTHONOPTIMIZE": "2", "PYTHONSAFEPATH": "1", "PYTHONIOENCODING": "ascii", "PYTHONUSERBASE": "/evil",
    "PYTEST_ADDOPTS": "-x", "PYTEST_PLUGINS": "evil", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "MATPLOTLIBRC": "/evil",
    "MPLBACKEND": "TkAgg", "JUPYTER_PATH": "/evil", "JUPYTER_CONFIG_PATH": "/evil", "JUPYTER_DATA_DIR": "/evil",
}


@pytest.mark.parametrize("command", [[], ["lab"], ["test", "-q"], ["bench", "some"]], ids=" ".join)
def test_settings_of_others_do_not_reach_python(machine, command):
    (machine.project / "bench").mkdir()
    (machine.project / "bench" / "some.py").touch()
    own = {"IPYTHONDIR": "ipython", "JUPYTER_CONFIG_DIR": "jupyter", "MPLCONFIGDIR": "matplotlib"}
    more = {**dict.fromkeys(own, "/evil"), "PYTHONUTF8": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    done, calls = machine(*command, **OTHERS, **more)
    assert done.returncode == 0, done.stderr
    for _, variables in calls[1:]:   # the first is check_environment.py
        assert {name for name, value in variables.items() if "evil" in value} == set()
        assert not set(OTHERS) - {"PYTHONPATH"} & set(variables)
        assert (variables["PYTHONPATH"], variables["PYTHONUTF8"]) == (str(machine.project), "1")
        assert (variables["PYTHONNOUSERSITE"], variables["PYTHONDONTWRITEBYTECODE"]) == ("1", "1")
        assert variables["JUPYTER_PREFER_ENV_PATH"] == "1"
        assert {name: variables[name] for name in own} == {
            name: f"{machine.project}/build/own/{folder}" for name, folder in own.items()}
        assert variables["HOME"] == str(machine.home) and "XDG_CACHE_HOME" not in variables


def test_pytest_takes_the_projects_settings_and_no_others(machine):
    _, calls = machine("test", "-k", "word")
    assert calls[-1][0] == "-m pytest -c pyproject.toml -k word"


@pytest.mark.parametrize("home", ["", "/proc/nothing"])
def test_a_home_that_cannot_be_written_to_is_replaced(machine, home):
    done, calls = machine(HOME=home)
    own, variables = f"{machine.project}/build/own", calls[-1][1]
    assert done.returncode == 0 and variables["HOME"] == (home or own)
    assert (variables["JUPYTER_DATA_DIR"], variables["XDG_CACHE_HOME"]) == (f"{own}/jupyter/data", f"{own}/cache")
    assert variables["JUPYTER_RUNTIME_DIR"] == f"{own}/jupyter/runtime"


def test_a_folder_for_temporary_files_that_is_gone_is_forgotten(machine):
    assert "TMPDIR" not in machine(TMPDIR="/proc/nothing")[1][-1][1]
    assert machine(TMPDIR=str(machine.home))[1][-1][1]["TMPDIR"] == str(machine.home)


def test_of_pips_settings_only_those_for_downloads_reach_the_set_up(machine):
    machine.interpreter(machine.project / ".venv" / "bin" / "python")
    machine.interpreter(machine.project / ".venv" / "bin" / "uv")
    settings = {"PIP_USER": "1", "PIP_TARGET": "/x", "PIP_REQUIRE_VIRTUALENV": "1", "PIP_NO_DEPS": "1",
                "UV_SYSTEM_PYTHON": "1", "UV_EXCLUDE_NEWER": "2020-01-01", "UV_CONFIG_FILE": "/x"}
    kept = {"PIP_PROXY": "http://p.example", "UV_CACHE_DIR": "/cache"}
    done, calls = machine(**settings, **kept, POSENC_PYTHON="", PATH=f"{machine.python.parent}:{os.environ['PATH']}")
    installs = [variables for arguments, variables in calls if "install" in arguments]
    assert done.returncode == 0 and len(installs) == 2, done.stderr   # the lock and the project
    for variables in installs:
        assert not set(settings) & set(variables) and kept.items() <= variables.items()
        assert (variables["PIP_CONFIG_FILE"], variables["UV_NO_CONFIG"]) == ("/dev/null", "1")
        assert variables["PIP_INDEX_URL"] == variables["UV_DEFAULT_INDEX"] == "https://b.example/simple"


def test_a_read_only_checkout_has_its_venv_or_says_so(machine):
    """Whoever may not write uses the .venv that stands there, and leaves no lock."""
    machine.interpreter(machine.project / ".venv" / "bin" / "python")
    machine.interpreter(machine.project / ".venv" / "bin" / "uv")
    variables = {"POSENC_PYTHON": "", "PATH": f"{machine.python.parent}:{os.environ['PATH']}"}
    assert machine(**variables)[0].returncode == 0
    (machine.project / ".venv.lock").unlink()
    shutil.rmtree(machine.project / "build")
    machine.project.chmod(0o555)
    done, calls = machine(**variables, powerless=True)
    assert done.returncode == 0 and [arguments for arguments, _ in calls] == [f"{machine.project}/book/make.py"]
    assert calls[0][1]["IPYTHONDIR"] == f"{machine.folder}/out/build/own/ipython"
    (machine.project / "pyproject.toml").write_text("changed")
    done, calls = machine(**variables, powerless=True)
    sentence = f"cannot write to {machine.project} to make .venv; copy the project, or set POSENC_PYTHON."
    assert done.returncode == 1 and done.stderr == f"run_all.sh: {sentence}\n" and not calls
    machine.project.chmod(0o755)


# ------------------------------------------------------------------------------------------ ways to start

def test_the_command_finds_its_folder_by_links_under_CDPATH_and_from_sh(machine):
    (machine.project / "bench").mkdir()
    (machine.project / "bench" / "mine.py").touch()
    (machine.folder / "links" / "more").mkdir(parents=True)
    (machine.folder / "links" / "posenc").symlink_to("../project/run_all.sh")
    (machine.folder / "links" / "more" / "again").symlink_to("../posenc")
    scripts = [["project/run_all.sh"], ["links/posenc"], ["links/more/again"], ["sh", "project/run_all.sh"]]
    for script in scripts:
        variables = {**os.environ, "CDPATH": f".:{machine.folder}"}
        done = subprocess.run([*script, "bench"], cwd=machine.folder, env=variables, capture_output=True, text=True)
        assert (done.stdout, done.stderr) == ("bench/ has: mine\n", ""), script


def test_help_is_the_heading_and_nothing_else(run_all):
    assert run_all("help").stdout.splitlines()[0] == "Everything this book is made of, from one command."
    assert "set -euo" not in run_all("help").stdout


def test_relative_paths_are_those_from_where_the_reader_stands(machine):
    here = machine.home / "deeper"
    here.mkdir()
    for command in ("lab", "test"):
        done, calls = machine(command, cwd=here, POSENC_PYTHON="../../bin/python3", POSENC_DATA="sets")
        assert done.returncode == 0, done.stderr
        assert calls[-1][1]["POSENC_DATA"] == f"{here}/sets"


def test_a_colon_in_the_path_is_one_sentence(machine):
    machine.project.rename(machine.folder / "a:b")
    done, _ = machine(script=machine.folder / "a:b" / "run_all.sh")
    sentence = f"Python finds no packages in {machine.folder}/a:b, for the colon in that path; move the project."
    assert done.returncode == 1 and done.stderr == f"run_all.sh: {sentence}\n"


def parsed(tmp_path, monkeypatch, *arguments):
    tiny = Tiny(tmp_path)
    tiny.page("01_dots", 'checkpoint = ""\nreleased = ""\npretrained = ""\n')
    monkeypatch.chdir(tmp_path)
    return book.parse(tiny.arguments(*arguments))


def test_files_among_the_parameters_are_found_from_where_the_reader_stands(tmp_path, monkeypatch):
    for name in ("epoch=9,step=3.ckpt", "a.safetensors", "b.safetensors", "data/weights/b.safetensors"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    args = parsed(tmp_path, monkeypatch, "--data=~/data", "--out=~/there", "-p", "checkpoint", "epoch=9,step=3.ckpt",
                  "-p", "released", "~/data", "-p", "pretrained", "vgg16,resnet18=a.safetensors,vgg11=b.safetensors")
    assert (args.data_root, args.base) == (f"{tmp_path}/data", tmp_path / "there")
    assert args.given == {
        "checkpoint": f"{tmp_path}/epoch=9,step=3.ckpt", "released": f"{tmp_path}/data",
        "pretrained": f"vgg16,resnet18={tmp_path}/a.safetensors,vgg11=b.safetensors"}   # the latter is under weights/


@pytest.mark.parametrize("arguments, sentence", [
    (["-p", "checkpoint", "net.pth"],
     "-p checkpoint: there is no {}/net.pth; give a path that exists, absolute or from the folder you are in."),
    (["--out", "caf\udce9"],
     "{}/caf\\udce9 has characters in its name that are not UTF-8; rename that file or folder."),
])
def test_a_path_that_cannot_be_used_is_one_sentence(run_all, tmp_path, arguments, sentence):
    done = run_all("--only", "06", *arguments, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr == f"run_all.sh: {sentence.format(tmp_path)}\n"
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------ the worst of all machines

FACTS = """
# %%
import json, os, sys, tempfile
import matplotlib.pyplot as plt
import pandas as pd
from posenc_lib.data import registry
from posenc_lib.run import config, records
from posenc_lib.show import page, style

registry.load("photos", "")
style.use_style()
workspace = config.Workspace(profile, data_root, out)
fig, ax = plt.subplots()
ax.set_title("η² × é")
page.show(fig, "01_figure", "η", "η", workspace=workspace)
page.table(pd.DataFrame({"η": [1.5]}), "01_table", "η", workspace=workspace)

# %%
print(json.dumps({"size": plt.rcParams["font.size"], "tex": plt.rcParams["text.usetex"], "own": "reader" in globals(),
                  "safe": sys.flags.safe_path, "commit": records._machine()["commit"], "cwd": os.getcwd(),
                  "project": str(config.PROJECT), "asserts": __debug__, "user": sys.flags.no_user_site}))
"""
SETTINGS = {
    ".ipython/profile_default/startup/00.py": "reader = 1\n",
    ".ipython/profile_default/ipython_config.py": "c.InteractiveShellApp.exec_lines = ['reader = 1']\n",
    ".config/matplotlib/matplotlibrc": "font.size: 40\ntext.usetex: True\nbackend: TkAgg\n",
    "evil/random.py": "raise SystemExit('a module of the reader')\n",
    "evil/sitecustomize.py": "raise SystemExit('a module of the reader')\n",
}


@pytest.fixture
def read_only(tmp_path):
    """A checkout that cannot be written to, in a folder with spaces and letters that are not ASCII."""
    checkout = tmp_path / "ein Pfad é ü" / "project"
    for name in ("book", "posenc_lib"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("_build", "__pycache__"))
    (checkout / "records").mkdir()
    for name in ("run_all.sh", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, checkout)
    subprocess.run(["chmod", "-R", "a-w", checkout], check=True)
    yield checkout
    subprocess.run(["chmod", "-R", "u+w", checkout], check=True)


@pytest.fixture
def latin(tmp_path) -> dict[str, str]:
    """Variables of a locale without UTF-8: a German one, or ASCII where none can be made."""
    made = shutil.which("localedef") and not subprocess.run(
        ["localedef", "-i", "de_DE", "-f", "ISO-8859-1", tmp_path / "de_DE.ISO-8859-1"], capture_output=True).returncode
    return {"LOCPATH": str(tmp_path), "LC_ALL": "de_DE.ISO-8859-1" if made else "C", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.slow
def test_nothing_of_the_machine_has_a_part_in_the_book(read_only, tmp_path, latin):
    tiny = Tiny(read_only.parent)
    (tiny.folder / "book" / "conf.py").write_text("from datetime import date\nproject = f'{date(2026, 3, 1):%B}'\n")
    (tiny.folder / "book").chmod(0o555)   # as in a checkout; it is copied
    tiny.page("01_dots", FACTS)
    for name, text in SETTINGS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    variables = {
        "PATH": f"{tmp_path}/bin", "HOME": "/proc/nothing", "TMPDIR": "/proc/nothing", "CDPATH": f".:{tmp_path}",
        "PYTHONPATH": f"{tmp_path}/evil", "PYTHONHOME": "/nowhere", "PYTHONSAFEPATH": "1", "PYTHONWARNINGS": "error",
        "PYTHONOPTIMIZE": "2", "PYTHONSTARTUP": f"{tmp_path}/evil/random.py", "PYTHONUTF8": "0", **latin,
        "IPYTHONDIR": f"{tmp_path}/.ipython", "MPLBACKEND": "nonsense",
        "MPLCONFIGDIR": f"{tmp_path}/.config/matplotlib", "POSENC_PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(["project/run_all.sh", *tiny.arguments("--profile", "smoke")], cwd=tiny.folder, env=variables,
                          capture_output=True, text=True, encoding="utf-8", preexec_fn=without_privileges, umask=0o077)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert json.loads(tiny.printed("01_dots")) == {
        "size": 10.8, "tex": False, "own": False, "safe": False, "commit": f"version {__version__}", "asserts": True,
        "user": 1, "cwd": str(tiny.folder / "notebooks"), "project": str(read_only)}
    assert (tiny.out / "figures" / "smoke" / "01_table.md").read_text(encoding="utf-8").startswith("| η |")
    assert "March" in (tiny.html / "index.html").read_text(encoding="utf-8")   # not as the locale has it
    assert not (read_only / "build").exists()
    assert tiny.out.stat().st_mode & 0o777 == 0o700


# ------------------------------------------------------------------------------------------ what has changed

@pytest.fixture
def state(tmp_path):
    """state(*words) -> what is known of the data root when a run starts."""
    root = tmp_path / "data"
    for name in ("pets/train/cat/0.png", "pets/train/dog/1.png", "others/train/cat/0.png", "camvid/train/0.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("a")
    return lambda *words: book.data_files.__wrapped__(root, frozenset(words))


def change(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


@pytest.mark.parametrize("name, text, noticed", [
    ("pets/train/cat/new.png", "a", True),
    ("pets/train/cat/0.png", "longer", True),
    ("pets/train/bird/2.png", "a", True),
    ("others/train/more.png", "a", True),          # two levels of every set
    ("others/train/cat/new.png", "a", False),      # what no page is asked for
    ("pets/train/cat/.DS_Store", "a", False),
    ("camvid/train/0.png", "longer", True),        # profiles choose it
])
def test_changed_data_are_noticed(state, tmp_path, name, text, noticed):
    before = state("pets")
    change(tmp_path / "data", name, text)
    assert (state("pets") != before) is noticed


def test_a_file_of_the_same_size_and_time_is_noticed_and_so_is_what_a_link_leads_to(state, tmp_path):
    file, elsewhere = tmp_path / "data" / "pets" / "train" / "cat" / "0.png", tmp_path / "elsewhere" / "bird"
    before, times = state("pets"), file.stat()
    file.write_text("b")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert state("pets") != before
    elsewhere.mkdir(parents=True)
    (tmp_path / "data" / "pets" / "train" / "bird").symlink_to(elsewhere)
    (tmp_path / "data" / "pets" / "train" / "around").symlink_to(tmp_path / "data" / "pets")   # no way out
    (tmp_path / "data" / "pets" / "train" / "nowhere").symlink_to("nowhere")
    before = state("pets")
    (elsewhere / "2.png").write_text("a")
    assert state("pets") != before
    assert str(book.entries(tmp_path / "data" / "pets")).count("2.png") == 1


def test_sets_that_profiles_choose_are_watched_as_deep_as_they_lie():
    layouts = [entry.layout for sets in (registry.SETS, registry.BOX_SETS) for entry in sets.values()]
    paths = [path for layout in layouts for path in re.findall("`(.+?)`", layout)]
    deep = {path.split("/")[0] for path in paths if path.rstrip("/").count("/") > 1}
    assert deep == book.DEEP


def test_pages_run_again_if_their_checkpoint_or_another_pages_table_has_changed(tmp_path, monkeypatch):
    (tmp_path / "net.pth").write_text("one")
    args = parsed(tmp_path, monkeypatch, "-p", "checkpoint", "net.pth")
    args.on_file = False
    page = book.Page(args.notebooks / "01_dots.py", args)
    assert {str(tmp_path / "net.pth"), "smoke", "quick"} & page.words() == {str(tmp_path / "net.pth")}
    before, found = book.files(args, page.words()), book.found(args)
    book.data_files.cache_clear()
    (tmp_path / "net.pth").write_text("two")
    assert book.files(args, page.words()) != before
    change(args.base / "figures" / args.profile, "00_claims.csv", "the start page's own")
    assert book.found(args) == found
    change(args.base / "figures" / args.profile, "01_against_paper.csv", "reproduced")
    assert book.found(args) != found
    found = book.found(args)
    change(args.notebooks, "01_dots.py", "another title")
    assert book.found(args) != found


# ------------------------------------------------------------------------------------------ figures and records

def test_a_readers_matplotlibrc_has_no_part_in_the_figures():
    plt.rcdefaults()
    style.use_style()
    clean = dict(plt.rcParams)
    theirs = {"font.size": 40, "text.usetex": True, "axes.grid": True, "savefig.transparent": True,
              "lines.linewidth": 9, "axes.formatter.use_locale": True, "legend.loc": "upper left"}
    plt.rcParams.update(theirs)
    style.use_style()
    assert dict(plt.rcParams) == clean


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A project with a history inside another repository; -> its commit."""
    def call(folder, *command):
        identity = ["-c", "user.name=n", "-c", "user.email=e@e"]
        return subprocess.run(["git", "-C", folder, *identity, *command], check=True, capture_output=True, text=True)

    for folder in (tmp_path, tmp_path / "project"):
        folder.mkdir(exist_ok=True)
        call(folder, "init")
        call(folder, "commit", "--allow-empty", "-m", folder.name)
    monkeypatch.setattr(git, "PROJECT", tmp_path / "project")
    return call(tmp_path / "project", "rev-parse", "--short=12", "HEAD").stdout.strip()


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_a_run_has_the_commit_of_the_project_or_none(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))   # as in a hook of another repository
    assert git.output("describe", "--always", "--abbrev=12") == repository
    if os.geteuid() == 0:   # the checkout of another user, which git calls dubious
        shutil.chown(tmp_path / "project", 65534)
        shutil.chown(tmp_path / "project" / ".git", 65534)
        monkeypatch.setenv("HOME", str(tmp_path))   # without a safe.directory
        assert git.output("describe", "--always", "--abbrev=12") == ""
    shutil.rmtree(tmp_path / "project" / ".git")   # unpacked from an archive, in a repository of the reader
    assert git.output("describe", "--always", "--abbrev=12") == ""


def test_a_run_is_recorded_where_git_is_not_installed(monkeypatch):
    monkeypatch.setenv("PATH", "/proc/nothing")
    assert git.output("describe", "--always", "--abbrev=12") == ""
