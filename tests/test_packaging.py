"""The wheel, with the packages that it requires and no others: its command, its imports, its version, its contents."""
import re
import shutil
import subprocess
import sys
import venv
from email import message_from_bytes
from importlib import metadata
from pathlib import Path
from zipfile import ZipFile

import pytest
from conftest import ROOT, environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from posenc_lib import __version__
from posenc_lib.__main__ import main, parse
from posenc_lib.experiments.augshift import METHODS, AugShiftConfig
from posenc_lib.nets import custom

NEED_EXTRAS = ["posenc_lib.run.cluster", "posenc_lib.show.interactive", "posenc_lib.show.page"]   # cluster, book, book


def distributions(requirements: list[str]) -> set[str]:
    """The installed distributions that requirements lead to, with the extras that they ask for."""
    found, waiting = set(), [(text, "") for text in requirements]
    while waiting:
        text, extra = waiting.pop()
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            new = {(name, extra) for extra in ("", *requirement.extras)} - found
            found |= new
            waiting += [(text, extra) for name, extra in new for text in metadata.requires(name) or ()]
    return {name for name, _ in found}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy of the files that it is made of: setuptools leaves folders behind."""
    source = tmp_path_factory.mktemp("source")
    shutil.copytree(ROOT / "posenc_lib", source / "posenc_lib", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "from setuptools import build_meta; build_meta.build_wheel('dist')"
    subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, check=True)
    file, = (source / "dist").glob("*.whl")
    return file


@pytest.fixture(scope="module")
def about(wheel):
    """The wheel's metadata."""
    with ZipFile(wheel) as parts:
        return message_from_bytes(parts.read(f"posenc_book-{__version__}.dist-info/METADATA"))


@pytest.fixture(scope="module")
def installed(wheel, about, tmp_path_factory):
    """installed(*command, cwd=) -> the finished process, in a virtual environment of the wheel and what it requires.

    The required packages are links to those of this environment.
    """
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, symlinks=True)
    site, = (folder / "lib").glob("python*/site-packages")
    for name in distributions(about.get_all("Requires-Dist")):
        found = metadata.distribution(name)
        for entry in {file.parts[0] for file in found.files} - {"..", "__pycache__"}:
            if not (site / entry).exists():
                (site / entry).symlink_to(found.locate_file(entry))
    subprocess.run([sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--no-deps",
                    "--no-index", "--no-compile", wheel], capture_output=True, check=True)

    def run(command, *arguments, cwd) -> subprocess.CompletedProcess:
        variables = environment(PYTHONPATH="", MPLBACKEND="module://nowhere")   # no part in a command's figures
        return subprocess.run([folder / "bin" / command, *arguments], cwd=cwd, env=variables, capture_output=True,
                              text=True)
    return run


def test_the_wheel_is_the_library_alone(wheel, about):
    with ZipFile(wheel) as parts:
        names = parts.namelist()
    info = f"posenc_book-{__version__}.dist-info/"
    assert {"posenc_lib/py.typed", "posenc_lib/probe.py", f"{info}licenses/LICENSE"} <= set(names)
    assert {name.split("/")[0] for name in names} == {"posenc_lib", info.rstrip("/")}
    assert sorted(name for name in names if name.endswith(".py")) == sorted(
        str(file.relative_to(ROOT)) for file in (ROOT / "posenc_lib").rglob("*.py"))
    assert (about["Name"], about["Version"], about["License-Expression"]) == ("posenc-book", __version__, "MIT")
    assert about.get_all("Provides-Extra") == ["book", "parquet", "cluster", "test"]


def test_every_module_but_those_of_an_extra_needs_the_core_packages_only(installed, tmp_path):
    code = """
import importlib, pkgutil, posenc_lib
for module in pkgutil.walk_packages(posenc_lib.__path__, "posenc_lib."):
    try:
        importlib.import_module(module.name)
    except ImportError as error:
        print(module.name, error)"""
    done = installed("python", "-c", code, cwd=tmp_path)
    assert [line.split()[0] for line in done.stdout.splitlines()] == NEED_EXTRAS, done.stdout + done.stderr


def test_an_installed_library_works_in_the_current_folder_or_in_the_checkout_around_it(installed, tmp_path):
    code = """
import os
from posenc_lib.run import config, records
print(config.PROJECT, records._machine()['commit'], config.Workspace().records("augshift", "paper"))
os.chdir({!r})
print(config._find_project())"""
    done = installed("python", "-c", code.format(str(ROOT / "notebooks")), cwd=tmp_path)
    assert done.stdout == f"{tmp_path} version {__version__} {tmp_path}/records/paper/augshift.jsonl\n{ROOT}\n"


@pytest.mark.slow
def test_the_command_probes_a_network_of_torchvision(installed, tmp_path):
    done = installed("posenc", "probe", "--model", "torchvision:squeezenet1_1", "--size", "64", "--grid", "2",
                     "--n-images", "12", "--layer", "features.3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = tmp_path / "probe-torchvision-squeezenet1_1"
    assert "posenc probe --model torchvision:squeezenet1_1 --size 64" in (report / "report.md").read_text()
    assert (report / "report.html").is_file()


def test_the_help_lists_what_there_is_to_choose_from(capsys):
    """It is written out: --help does not import the library."""
    with pytest.raises(SystemExit):
        main(["augshift", "--help"])
    out = capsys.readouterr().out.split("--method")[-1]
    assert set(METHODS) <= set(re.findall(r"\w+", out.split("--arch")[0]))
    assert parse(["augshift", "--data", "x"]).weight == AugShiftConfig.weight
    with pytest.raises(SystemExit):
        main(["probe", "--help"])
    assert custom.FORMS in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("started, command", [("/env/bin/posenc", "posenc"), ("__main__.py", "python -m posenc_lib")])
def test_the_command_calls_itself_as_it_was_called(monkeypatch, capsys, started, command):
    monkeypatch.setattr(sys, "argv", [started])
    assert main(["probe", "--model", "nothing"]) == 2
    assert capsys.readouterr().err.startswith(f"{command}: model: 'nothing' does not name a network; use timm:NAME")
    for argument, line in (("--version", f"posenc {__version__}\n"), ("--help", f"usage: {command} [-h]")):
        with pytest.raises(SystemExit):
            main([argument])
        assert capsys.readouterr().out.startswith(line)
