"""The ways into the project other than run_all.sh: hosted CI, containers, conda, Binder, Colab."""
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch

import jupytext
import nbformat
import pytest
import yaml
from check_jsonschema import main
from click.testing import CliRunner
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PAGES = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
IGNORED = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
           if line and not line.startswith("#")]


def command(*arguments, **options) -> subprocess.CompletedProcess:
    return subprocess.run(list(map(str, arguments)), capture_output=True, text=True, **options)


# ------------------------------------------------------------------------------------------ hosted CI

def schema_problems(*files, schema="vendor.github-workflows") -> str:
    done = CliRunner().invoke(main, ["--builtin-schema", schema, *map(str, files)])
    return done.output if done.exit_code else ""


def steps(file) -> list[dict]:
    return [step for job in yaml.safe_load(file.read_text())["jobs"].values() for step in job["steps"]]


def test_workflows_are_valid_and_every_job_has_a_time_limit():
    assert WORKFLOWS
    assert not schema_problems(*WORKFLOWS)
    assert not schema_problems(*WORKFLOWS, schema="custom.github-workflows-require-timeout")


def test_the_schema_finds_a_misspelt_key(tmp_path):
    broken = tmp_path / "tests.yml"
    broken.write_text(WORKFLOWS[0].read_text().replace("runs-on", "runs_on"))
    assert "runs_on" in schema_problems(broken)


def test_hosted_ci_tests_on_every_python_that_the_command_looks_for():
    matrix = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())["jobs"]["tests"]["strategy"]["matrix"]
    candidates = re.search(r"candidates=\((.+?)\)", (ROOT / "run_all.sh").read_text())[1]
    assert sorted(matrix["python"]) == sorted(re.findall(r"python(3\.\d+)", candidates))
    assert f">={min(matrix['python'], key=lambda version: int(version[2:]))}" == PROJECT["requires-python"]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_the_commands_of_a_workflow_exist(file):
    run = [step["run"] for step in steps(file) if "run" in step]
    commands = re.search(r"there are run \(the default\), (.+)\.\"", (ROOT / "run_all.sh").read_text())[1]
    known = re.split(r", | and ", commands)
    for line in run:
        first, *rest = line.split()
        if first == "./run_all.sh":
            assert not rest or rest[0].startswith("--") or rest[0] in known, line
    assert "./run_all.sh test" in "\n".join(run) or "./run_all.sh" in run


# ------------------------------------------------------------------------------------------ containers

def dockerignored(path: str) -> bool:
    """Whether a pattern matches the path or a folder above it, from the root or, after **/, anywhere."""
    parts = path.split("/")
    return any(fnmatch(parts[n], pattern[3:]) if pattern.startswith("**/") else "/".join(parts[:n + 1]) == pattern
               for pattern in IGNORED for n in range(len(parts)))


def test_hadolint_has_no_complaint():
    done = command(shutil.which("hadolint", path=os.path.dirname(sys.executable)) or "hadolint", ROOT / "Dockerfile")
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_dockerfile_copies_is_there():
    copied = [line.split()[1:-1] for line in DOCKERFILE.splitlines() if line.startswith("COPY")]
    names = [name for line in copied for name in line if not name.startswith("--")]
    assert "requirements-all.lock" in names and "." in names
    for name in names:
        assert (ROOT / name).exists() and not dockerignored(name), name


def test_the_image_has_what_is_in_git_and_nothing_that_runs_make():
    ignored_by_git = [line.strip("/") for line in (ROOT / ".gitignore").read_text().split("\n")
                      if line and not line.startswith("#")]
    assert not [path for path in ignored_by_git if not dockerignored(path) and not dockerignored(f"folder/{path}")]
    for path in ("records/paper", "records/cpu", "figures/paper", "book/conf.py", "notebooks", "posenc_lib/data"):
        assert not dockerignored(path), path


def test_the_image_runs_as_a_user_whom_the_devcontainer_names():
    user = re.search(r"useradd --uid (\d+) .* (\w+) ", DOCKERFILE)
    assert re.findall(r"(?m)^USER (.+)$", DOCKERFILE) == [user[1]] != ["0"]
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert container["remoteUser"] == user[2]
    assert (ROOT / ".devcontainer" / container["build"]["dockerfile"]).resolve() == ROOT / "Dockerfile"
    assert (ROOT / ".devcontainer" / container["build"]["context"]).resolve() == ROOT
    python = container["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]
    assert python == re.search(r"POSENC_PYTHON=(\S+)", DOCKERFILE)[1]
    assert container["postCreateCommand"].startswith("python -m pip install --no-deps")
    assert f"EXPOSE {container['forwardPorts'][0]}" in DOCKERFILE


# ------------------------------------------------------------------------------------------ conda and Binder

def extras_of(line: str) -> set[str]:
    return Requirement(re.sub(r"^(-e )?\.", PROJECT["name"], line)).extras


def test_conda_installs_the_pinned_environment_on_a_python_that_the_project_takes():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == PROJECT["name"]
    *conda, pip = environment["dependencies"]
    assert "pip" in conda
    version, = (name.removeprefix("python=") for name in conda if name.startswith("python="))
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(version)
    assert pip == {"pip": ["-r requirements-all.lock"]}


def test_the_lock_that_conda_installs_has_every_requirement_of_the_project():
    lock = (ROOT / "requirements-all.lock").read_text(encoding="utf-8")
    locked = {canonicalize_name(name): version for name, version in re.findall(r"(?m)^([\w.-]+)==([^ ;]+)", lock)}
    for text in sum(PROJECT["optional-dependencies"].values(), PROJECT["dependencies"]):
        wanted = Requirement(text)
        assert wanted.specifier.contains(locked[canonicalize_name(wanted.name)]), text


def test_binder_installs_the_project_with_extras_that_it_has():
    lines = (ROOT / ".binder" / "requirements.txt").read_text().splitlines()
    installed, = (line for line in lines if line.startswith("-e "))
    assert extras_of(installed) == {"book"} <= set(PROJECT["optional-dependencies"])
    version = (ROOT / ".binder" / "runtime.txt").read_text().strip().removeprefix("python-")
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(version)


# ------------------------------------------------------------------------------------------ notebooks elsewhere

def install_cell(page) -> str:
    cell, = (cell for cell in jupytext.read(page).cells if cell.source.startswith("import site\n"))
    assert "remove-cell" in cell.metadata["tags"]
    return cell.source


def test_every_page_installs_the_library_before_it_imports_it():
    first, *others = map(install_cell, PAGES)
    assert others and set(others) == {first}
    for page in PAGES:
        code = [cell.source for cell in jupytext.read(page).cells if cell.cell_type == "code"]
        assert code[1] == first and "posenc_lib" not in code[0]


def test_pages_install_from_the_repository_that_the_project_names():
    """Without an address there is none in the cell, which then says so."""
    address = PROJECT.get("urls", {}).get("Repository", "")
    source = re.search(r'(?m)^source = "(.*?)"', install_cell(PAGES[0]))[1]
    expected = f"-e git+{address}#egg={PROJECT['name']}" if address else ""
    assert source == expected, f"in every page, set: source = {expected!r}"


RUN_CELL = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell()
shell.run_cell(sys.argv[1]).raise_error()
import posenc_lib
print(posenc_lib.__file__)
"""


@pytest.fixture
def bare_python(tmp_path):
    """A Python with everything that is installed here except the project."""
    done = command(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    assert done.returncode == 0, done.stderr
    python = tmp_path / "venv" / "bin" / "python"
    site = command(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
    outer = [path for path in sys.path if path.endswith("-packages")]
    with open(os.path.join(site, "outer.pth"), "w") as paths:
        print(*outer, sep="\n", file=paths)
    return python


def run_cell(python, cell, **variables) -> subprocess.CompletedProcess:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | variables
    return command(python, "-c", RUN_CELL, cell, cwd=python.parent, env=env)


def test_a_notebook_on_its_own_says_that_the_library_is_missing(bare_python):
    cell = re.sub(r'source = ".*?"', 'source = ""', install_cell(PAGES[0]))
    done = run_cell(bare_python, cell)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("ModuleNotFoundError: posenc_lib is not installed; run this notebook in its "
                                        "repository, or set `source` in this cell")


@pytest.mark.parametrize("editable", [False, True])
def test_a_notebook_on_its_own_installs_the_library(bare_python, tmp_path, editable):
    project = tmp_path / "project"
    project.mkdir()
    shutil.copytree(ROOT / "posenc_lib", project / "posenc_lib", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, project)
    source = f"--no-build-isolation --no-deps {'-e ' if editable else ''}{project}"
    cell = re.sub(r'source = ".*?"', f'source = "{source}"', install_cell(PAGES[0]))
    done = run_cell(bare_python, cell, PIP_NO_INDEX="1")
    assert done.returncode == 0, done.stdout + done.stderr
    installed = done.stdout.strip().splitlines()[-1]
    assert installed.startswith(str(project if editable else tmp_path / "venv"))


def test_a_page_leaves_an_installed_library_as_it_is():
    exec(install_cell(PAGES[0]), {})   # get_ipython does not exist here


@pytest.mark.parametrize("address, buttons", [
    ("", []),
    ("https://github.com/someone/book",
     ["https://mybinder.org/v2/gh/someone/book/main?urlpath=lab/tree/notebooks/00_index.ipynb",
      "https://colab.research.google.com/github/someone/book/blob/main/notebooks/00_index.ipynb"]),
    ("https://git.example.org/group/someone/book",
     ["https://mybinder.org/v2/git/https%3A//git.example.org/group/someone/book/main"
      "?urlpath=lab/tree/notebooks/00_index.ipynb"])])
def test_buttons_lead_to_the_repository_and_are_left_out_without_one(tmp_path, address, buttons):
    shutil.copytree(ROOT / "book", tmp_path / "book", ignore=shutil.ignore_patterns("_build", "__pycache__", "*.md"))
    (tmp_path / "book" / "markup.py").write_text("def translate(*_): pass\n")
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A page")],
                                    metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    nbformat.write(page, tmp_path / "book" / "00_index.ipynb")
    done = command(sys.executable, "-m", "sphinx", "-q", "-n", "-W", "-b", "html", tmp_path / "book", tmp_path / "html",
                   env={**os.environ, "POSENC_REPOSITORY": address})
    assert done.returncode == 0, done.stderr
    html = (tmp_path / "html" / "00_index.html").read_text(encoding="utf-8")
    assert re.findall(r'href="([^"]+(?:binder|colab)[^"]+|[^"]+mybinder[^"]+)"', html) == buttons
