"""python -m posenc_lib probe: a report that can be read, and one sentence for everything that is wrong."""
import re

import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from posenc_lib.__main__ import main

MINE = """
from torch import nn

def build(last=nn.Flatten()):
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.MaxPool2d(3, 2, 1), nn.ReLU(), nn.Conv2d(8, 20, 3, 2, 1),
                         nn.AdaptiveAvgPool2d(1), last)

class Dict(nn.Module):
    def forward(self, x):
        return {"answer": x}

def speechless():
    return build(Dict())
"""


@pytest.fixture
def ask(tmp_path, monkeypatch, capsys):
    """ask(*arguments) -> exit code, what was printed, what was complained of; on a network of this folder."""
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)

    def run(*arguments, model="mine.py:build"):
        monkeypatch.setattr("sys.argv", ["posenc_lib", "probe", "--model", model, *arguments])
        code = main(["probe", "--model", model, *arguments])
        return code, *capsys.readouterr()
    return run


def headings(text: str) -> list[str]:
    return re.findall(r"^#+ (.*)$", text, re.M)


def test_a_report_has_every_answer_with_its_figure_and_numbers(ask, tmp_path):
    code, said, _ = ask("--size", "48", "--n-images", "12", "--out", "report")
    out = tmp_path / "report"
    assert code == 0 and "report/report.html" in said
    text, html = (out / "report.md").read_text(), (out / "report.html").read_text()
    assert headings(text) == [
        "How much position does mine.py:build know?", "Where is it? Location told from the averaged channels",
        "What marks the place? Layers that meet the border", "Place fields of `3`", "Which channels of `3`?",
        "What breaks without them?", "What this shows, and what it does not", "How this was made"]
    figures = re.findall(r"!\[.+?\]\((\w+)\.svg\)", text)
    assert figures == ["location", "border", "place_fields", "removal"]
    for name in figures:
        assert (out / f"{name}.svg").stat().st_size and (out / f"{name}.png").stat().st_size
    assert html.count("data:image/svg+xml;base64,") == 4 and 'src="location.svg"' not in html
    assert re.findall(r'<img[^>]*alt=""', html) == [] and "<table>" in html and "http://" not in html
    assert "the first layer that feels the border is `0`" in text and "in every convolution it is `1`" in text
    assert "python -m posenc_lib probe --model mine.py:build --size 48" in text
    table = pd.read_csv(out / "location.csv")
    told = table[table["head"] == "in order"].set_index("layer").loc[3]
    assert f"| 3 | 20 | 11.1 | {told['ceiling']:.1f} | {told['mean']:.1f} [{told['low']:.1f}, " in text
    removed = pd.read_csv(out / "removal.csv")
    assert set(removed["removed"]) == {"highest decodability", "highest flip", "random", "as strong"}
    assert sorted(set(removed["share"])) == [5, 15, 50] and removed["mean"].max() <= 1


def test_the_same_question_has_the_same_answer_and_a_report_is_replaced_only_when_asked(ask, tmp_path):
    arguments = ("--size", "48", "--n-images", "12", "--layer", "3", "--out", "report")
    assert ask(*arguments)[0] == 0
    first = (tmp_path / "report" / "location.csv").read_text()
    code, _, complaint = ask(*arguments)
    assert code == 2 and "out: report is not empty; name another folder, or give --overwrite" in complaint
    assert ask(*arguments, "--overwrite")[0] == 0
    assert (tmp_path / "report" / "location.csv").read_text() == first
    assert set(pd.read_csv(tmp_path / "report" / "location.csv")["layer"]) == {3}


def test_weights_and_pictures_are_those_that_are_given(ask, tmp_path):
    save_file({"0.weight": torch.zeros(8, 3, 3, 3), "0.bias": torch.ones(8), "3.weight": torch.zeros(20, 8, 3, 3),
               "3.bias": torch.ones(20)}, tmp_path / "w.safetensors")
    (tmp_path / "photos" / "more").mkdir(parents=True)
    for n in range(13):
        Image.new("RGB", (60, 50), (20 * n, 0, 99)).save(tmp_path / "photos" / ("more" * (n % 2)) / f"{n}.png")
    code, *_ = ask("--size", "32", "--images", "photos", "--n-images", "12", "--weights", "w.safetensors")
    text = (tmp_path / "probe-mine.py-build" / "report.md").read_text()
    assert code == 0 and "w.safetensors. Asked with 12 pictures (photos)" in text
    assert "No layer tells the location beyond chance" in text          # the weights are all zero
    assert "| flip | – | – | – | – |" in text                           # and all channels alike


def test_a_network_that_answers_with_no_tensor_is_told_about_as_far_as_it_goes(ask, tmp_path):
    code, *_ = ask("--size", "32", "--n-images", "12", "--out", "report", model="mine.py:speechless")
    text = (tmp_path / "report" / "report.md").read_text()
    assert code == 0 and "The network does not put out one tensor" in text and "removal.svg" not in text


@pytest.mark.parametrize("arguments, model, sentence", [
    ((), "timm:resnet19", "model: timm:resnet19 was asked for, and timm has no 'resnet19'; near it are "),
    ((), "none.py:build", "model: none.py was asked for and is not there"),
    (("--weights", "w.pth"), "mine.py:build", "weights: w.pth was asked for and is not there"),
    (("--layer", "layer4"), "mine.py:build", "layer: Sequential has no layer 'layer4'; near it are "),
    (("--layer", "5"), "mine.py:build", "layers: 5 of Sequential puts out no feature map; those that do are, at each"),
    (("--images", "nowhere"), "mine.py:build", "images: nowhere is not a folder; give "),
    (("--images", "empty"), "mine.py:build", "images: empty has no images (.jpg, "),
    (("--images", "few"), "mine.py:build", "images: few has 2 images; 12 or more are needed"),
    (("--images", "broken"), "mine.py:build", "broken/0.png cannot be read as an image"),
    (("--n-images", "3"), "mine.py:build", "n-images: 3 pictures were asked for; give 12 or more"),
    (("--grid", "40"), "mine.py:build", "probe: a 40x40 grid was asked for"),
    (("--size", "0"), "mine.py:build", "size: a canvas of 0 pixels was asked for"),
    (("--out", "mine.py"), "mine.py:build", "out: mine.py is a file; name a folder"),
    (("--out", "few", "--overwrite"), "mine.py:build", "out: few is not empty"),
])
def test_what_is_wrong_is_one_sentence_and_leaves_nothing(ask, tmp_path, arguments, model, sentence):
    for folder, n in (("empty", 0), ("few", 2)):
        (tmp_path / folder).mkdir()
        for k in range(n):
            Image.new("RGB", (9, 9)).save(tmp_path / folder / f"{k}.png")
    (tmp_path / "broken").mkdir()
    for k in range(12):
        (tmp_path / "broken" / f"{k}.png").write_bytes(b"no picture")
    before = sorted(tmp_path.rglob("*"))
    code, said, complaint = ask(*arguments, model=model)
    assert code == 2 and not said and sentence in complaint and complaint.count("\n") == 1
    assert [f for f in sorted(tmp_path.rglob("*")) if "__pycache__" not in f.parts] == before


def test_help_says_what_it_does(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["probe", "--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    for word in ("--model timm:resnet18", "--weights", "--layer", "--images", "--out", "report.html", "Page 08"):
        assert word in said
