"""The pages: paired, free of outputs, with parameters; and every one runs."""
import ast
import os
import re

import execute
import jupytext
import nbformat
import pytest
import torch
from arguments import SUMMARIES
from conftest import ROOT, in_fork, run_cells

from posenc_lib.run import records

PAGES = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.py"))
page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def cells(notebook) -> list[tuple]:
    """What a pair has to agree on."""
    return [(cell.cell_type, cell.source, cell.metadata.get("tags", []), cell.metadata.get("title", ""))
            for cell in notebook.cells]


def test_every_page_is_a_pair_and_there_is_an_index():
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert [page.stem for page in PAGES] == [notebook.stem for notebook in notebooks]
    assert PAGES[0].stem == "00_index"


@page
def test_the_pair_is_in_sync(page):
    notebook = nbformat.read(page.with_suffix(".ipynb"), as_version=4)
    assert cells(jupytext.read(page)) == cells(notebook), f"run: jupytext --sync notebooks/{page.name}"
    assert notebook.metadata.kernelspec.name == "python3"


@page
def test_the_notebook_is_free_of_outputs(page):
    for cell in nbformat.read(page.with_suffix(".ipynb"), as_version=4).cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None, cell.source


@page
def test_code_fits_its_box(page):
    for cell in jupytext.read(page).cells:
        if cell.cell_type == "code":
            assert max(map(len, cell.source.splitlines())) <= 100, cell.source


@page
def test_a_page_opens_with_its_answer(page):
    opening = jupytext.read(page).cells[0].source
    assert opening.startswith("# ")
    if page.stem[:2] not in SUMMARIES:
        assert re.match(r"# \d\d · [^?]+: [^?]+\?\n", opening), "its title is not a subject and a question"
        assert "> **In short**\n" in opening and re.search(r"(?m)^> \*\*[^*]+\*\*", opening.split("**In short**")[1])
        figure = re.search(r"!\[[^]]+\]\(\.\./(figures/paper/\w+\.png)\)", opening)
        assert (ROOT / figure[1]).is_file()
        assert f"./run_all.sh --only {page.stem[:2]}" in opening


@page
def test_a_parameters_cell_sets_the_standard_names(page):
    tagged = [cell for cell in jupytext.read(page).cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    values = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(tagged[0].source).body}
    assert (values["profile"], values["data_root"], values["out"]) == ("quick", "", "")


class Trap:
    def __reduce__(self):
        return os.mkdir, (os.environ["TRAP"],)


@pytest.mark.parametrize("number, parameter, value, sentence", [
    ("02", "pretrained", "resnet18=none.safetensors",
     "FileNotFoundError: weights: {root}/weights/none.safetensors, requested for resnet18, does not exist"),
    ("06", "layer", "layer9", "ValueError: layer: 'layer9' is not supported; choose from "),
    ("07", "detectors", "csp,yolo",
     "ValueError: detectors: 'yolo' is not supported; choose from 'faster', 'cascade', 'csp'"),
    ("02", "photos", "empty", "FileNotFoundError: data: {root}/empty/train has no image"),
    ("06", "checkpoint", "/nowhere/net.pt", "FileNotFoundError: checkpoint: /nowhere/net.pt does not exist"),
    ("06", "checkpoint", "{root}/trap.pt",
     "ValueError: checkpoint: {root}/trap.pt holds more than tensors and plain values"),
    ("06", "dataset", "empty", "FileNotFoundError: data: {root}/empty/train has no image"),
    ("07", "dataset", "empty", "ValueError: empty: {root}/empty/train.json cannot be read as JSON (")])
def test_what_a_page_cannot_read_is_one_sentence(
        pages_imported, tmp_path, monkeypatch, number, parameter, value, sentence):
    monkeypatch.setenv("TRAP", str(tmp_path / "sprung"))
    torch.save(Trap(), tmp_path / "trap.pt")
    (tmp_path / "empty" / "train").mkdir(parents=True)
    (tmp_path / "empty" / "train.json").write_text("")
    page, = (ROOT / "notebooks").glob(f"{number}_*.py")
    done = in_fork(run_cells, page, profile="smoke", data_root=str(tmp_path), out=str(tmp_path / "out"),
                   **{parameter: value.format(root=tmp_path)})
    assert done.returncode == 1 and f"\n{sentence.format(root=tmp_path)}" in done.stderr
    assert not (tmp_path / "sprung").exists()   # no pickle is run


@pytest.mark.slow
def test_without_a_gpu_and_data_the_paper_profile_shows_what_is_on_file(run_all, tmp_path):
    """Page 03 has runs on file and no images, page 05 neither at this scale; an example of page 07 needs its data."""
    kept = {file: file.read_bytes() for file in (ROOT / "records").rglob("*.jsonl")}
    done = run_all("--profile", "paper", "--only", "03,05,07", "--out", tmp_path, POSENC_DATA="",
                   CUDA_VISIBLE_DEVICES="", http_proxy="http://127.0.0.1:9", https_proxy="http://127.0.0.1:9")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no GPU here, so nothing is trained: the pages show the runs in records/paper\n" in done.stdout
    assert kept == {file: file.read_bytes() for file in (ROOT / "records").rglob("*.jsonl")}
    assert not list(tmp_path.rglob("*.jsonl")) and not list(tmp_path.rglob("*.pt"))
    pages = sorted((tmp_path / "build" / "notebooks").glob("[0-9]*.ipynb"))
    assert [page.stem[:2] for page in pages] == ["00", "03", "05", "07", "99"]
    for page in pages:
        executed = nbformat.read(page, as_version=4)
        code = "\n".join(cell.source for cell in executed.cells if cell.cell_type == "code")
        shown = str(executed)
        for label in execute.labels(code, code):   # each figure and table, or a placeholder for it
            assert f":name: {label}\\n" in shown, label
    html = tmp_path / "book" / "_build" / "html"
    page = (html / "07_pedestrian_detection.html").read_text()
    text = page.replace("</span>", "").replace('<span class="pre">', "")
    assert "Not run yet. On a machine with a GPU: <code" in text
    assert "./run_all.sh --profile paper --only 07 --data DIR</code>" in text
    page = (html / "05_augshift.html").read_text()
    assert "cifar10 is not in the data folder" in page and "nothing is trained without a GPU" in page


@pytest.mark.slow
@page
def test_the_page_runs_at_smoke_and_is_in_the_book(page, smoke_book):
    out, html = smoke_book
    executed = nbformat.read(out / "build" / "notebooks" / f"{page.stem}.ipynb", as_version=4)
    code = [cell for cell in executed.cells if cell.cell_type == "code" and cell.source.strip()]
    assert all(cell.execution_count for cell in code)
    assert not [output for cell in code for output in cell.outputs if output.output_type == "error"]
    assert (html / f"{page.stem}.html").exists()


@pytest.mark.slow
def test_a_page_on_workers_makes_the_records_of_the_page_alone(smoke_book, pages_imported, tmp_path, monkeypatch):
    """Page 04 keeps latents between runs, which then go to both workers."""
    cores = min(4, len(os.sched_getaffinity(0)))   # as many as the book's pages at a time: equal threads for a run
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.delenv("POSENC_DATA", raising=False)
    monkeypatch.setenv("POSENC_CLUSTER", f"local:{cores}")
    done = in_fork(run_cells, ROOT / "notebooks" / "04_pretrained_decoding.py", profile="smoke", out=str(tmp_path),
                   grids="3")
    assert done.returncode == 0, done.stderr
    assert "0 were on file; side by side" in done.stdout
    here, there = ({r.key: r.results for r in records.load(out / "records" / "smoke" / "pretrained_decoding.jsonl")}
                   for out in (smoke_book[0], tmp_path))
    assert there == {key: here[key] for key in there} and len(there) == 5
