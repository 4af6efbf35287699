"""The pages: paired, free of outputs, with parameters; and every one runs."""
import ast
import os
import sys

import jupytext
import nbformat
import pytest
import torch
from conftest import ROOT

sys.path.insert(0, str(ROOT / "book"))
import execute

PAGES = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.py"))
page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def cells(notebook) -> list[tuple]:
    """What a pair has to agree on."""
    return [(cell.cell_type, cell.source, cell.metadata.get("tags", []), cell.metadata.get("mystnb", {}))
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
def test_a_parameters_cell_sets_the_standard_names(page):
    tagged = [cell for cell in jupytext.read(page).cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    values = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(tagged[0].source).body}
    assert (values["profile"], values["data_root"], values["out"]) == ("quick", "", "")


class Trap:
    def __reduce__(self):
        return os.mkdir, (os.environ["TRAP"],)


@pytest.mark.slow
@pytest.mark.parametrize("pages, given, sentences", [
    ("02,06,07", {"pretrained": "resnet18=none.safetensors", "layer": "layer9", "detectors": "csp,yolo"}, [
        "FileNotFoundError: weights: {root}/weights/none.safetensors, requested for resnet18, does not exist",
        "ValueError: layer: 'layer9' is not supported; choose from ",
        "ValueError: detectors: 'yolo' is not supported; choose from 'faster', 'cascade', 'csp'"]),
    ("02,06", {"photos": "empty", "checkpoint": "/nowhere/net.pt"}, [
        "FileNotFoundError: data: {root}/empty/train has no image",
        "FileNotFoundError: checkpoint: /nowhere/net.pt does not exist"]),
    ("06", {"checkpoint": "{root}/trap.pt"}, [
        "ValueError: checkpoint: {root}/trap.pt holds more than tensors and plain values"]),
    ("06,07", {"dataset": "empty"}, [
        "FileNotFoundError: data: {root}/empty/train has no image",
        "ValueError: empty: {root}/empty/train.json cannot be read as JSON ("])])
def test_what_a_page_cannot_read_is_one_sentence(run_all, tmp_path, monkeypatch, pages, given, sentences):
    monkeypatch.setenv("TRAP", str(tmp_path / "sprung"))
    torch.save(Trap(), tmp_path / "trap.pt")
    (tmp_path / "empty" / "train").mkdir(parents=True)
    (tmp_path / "empty" / "train.json").write_text("")
    asked = [word for name, value in given.items() for word in ("-p", name, value.format(root=tmp_path))]
    done = run_all("--profile", "smoke", "--only", pages, "--data", tmp_path, "--out", tmp_path / "out", *asked)
    assert done.returncode == 1
    for sentence in sentences:
        assert sentence.format(root=tmp_path) in done.stdout + done.stderr
    assert not (tmp_path / "sprung").exists()   # no pickle is run


@pytest.mark.slow
def test_without_a_gpu_and_data_the_paper_profile_shows_what_is_on_file(run_all, tmp_path):
    kept = {file: file.read_bytes() for file in (ROOT / "records").rglob("*.jsonl")}
    done = run_all("--profile", "paper", "--out", tmp_path, POSENC_DATA="", CUDA_VISIBLE_DEVICES="",
                   http_proxy="http://127.0.0.1:9", https_proxy="http://127.0.0.1:9")   # nor a network
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no GPU here, so nothing is trained: the pages show the runs in records/paper\n" in done.stdout
    assert kept == {file: file.read_bytes() for file in (ROOT / "records").rglob("*.jsonl")}
    assert not list(tmp_path.rglob("*.jsonl")) and not list(tmp_path.rglob("*.pt"))
    for page in PAGES:
        executed = nbformat.read(tmp_path / "build" / "notebooks" / f"{page.stem}.ipynb", as_version=4)
        code = "\n".join(cell.source for cell in executed.cells if cell.cell_type == "code")
        shown = str(executed)
        for label in execute.labels(code, code):   # each figure and table, or a placeholder for it
            assert label == "tab-06_released" or f":name: {label}\\n" in shown, label
    page = (tmp_path / "book" / "_build" / "html" / "07_pedestrian_detection.html").read_text()
    text = page.replace("</span>", "").replace('<span class="pre">', "")
    assert "Not run yet. On a machine with a GPU: <code" in text
    assert "./run_all.sh --profile paper --only 07 --data DIR</code>" in text
    assert "citypersons is not under " in page and "nothing is trained without a GPU" in page


@pytest.mark.slow
@page
def test_the_page_runs_at_smoke_and_is_in_the_book(page, smoke_book):
    out, html = smoke_book
    executed = nbformat.read(out / "build" / "notebooks" / f"{page.stem}.ipynb", as_version=4)
    code = [cell for cell in executed.cells if cell.cell_type == "code" and cell.source.strip()]
    assert all(cell.execution_count for cell in code)
    assert not [output for cell in code for output in cell.outputs if output.output_type == "error"]
    assert (html / f"{page.stem}.html").exists()
