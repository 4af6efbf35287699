"""Who made what the book bundles or reads, under which terms; and how to cite the book."""
import re
import subprocess
import sys
from pathlib import Path

import pytest
import skimage.data
import sklearn.datasets
from conftest import ROOT

from posenc_lib import __version__
from posenc_lib.data import bundled, registry

PAGE = (ROOT / "book" / "licences.md").read_text()
ROWS = dict(re.findall(r"(?m)^\| (\w+)[^|]*\|(.*)$", PAGE))
CC_BY = "creativecommons.org/licenses/by/2.0/"


def test_every_bundled_image_is_credited():
    assert {*bundled.photographs(), "digits"} <= set(ROWS)


@pytest.mark.parametrize("name, function, statement", [
    ("astronaut", skimage.data.astronaut, "No known copyright restrictions, released into the public domain"),
    ("cat", skimage.data.chelsea, "CC0 by the photographer (Stefan van der Walt)"),
    ("coffee", skimage.data.coffee, "CC0 by the photographer (Rachel Michetti)"),
    ("rocket", skimage.data.rocket, "released in the public domain")])
def test_credits_are_those_of_scikit_image(name, function, statement):
    assert statement in function.__doc__
    photographer = re.search(r"\((.+)\)", statement)
    assert (f"{photographer[1]}" if photographer else "public domain") in ROWS[name]
    assert ("CC0" in ROWS[name]) == ("CC0" in statement)


@pytest.mark.parametrize("name", ["china", "flower"])
def test_credits_are_those_of_scikit_learn(name):
    statements = (Path(sklearn.datasets.__file__).parent / "images" / "README.txt").read_text()
    statement = re.search(rf"Image: {name}\.jpg\n(.*?)(?:\n\n\n|\Z)", statements, re.DOTALL)[1]
    assert CC_BY in statement and CC_BY in ROWS[name]
    assert re.search(r"\[3\] (\S+/photos/\w+/\d+/)", statement)[1] in ROWS[name]


@pytest.mark.parametrize("name, data_set", [
    ("CIFAR-10, CIFAR-100", registry.SETS["cifar10"]), ("CamVid", registry.SETS["camvid"]),
    ("Cityscapes", registry.SETS["cityscapes"]), ("CityPersons", registry.BOX_SETS["citypersons"])])
def test_the_terms_of_other_data_sets_are_those_of_the_data_table(name, data_set):
    assert f"\n| {name} | {data_set.licence} | {{cite:t}}`" in PAGE


def test_the_citation_is_valid_and_has_the_version():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.citation-file-format"]
    done = subprocess.run([*command, "CITATION.cff"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
