"""python -m posenc_lib probe: a complete report, or one sentence that says what is wrong."""
import os
import re
import subprocess
import sys

import pandas as pd
import pytest
import torch
from conftest import ROOT
from PIL import Image
from safetensors.torch import save_file

from posenc_lib import __version__
from posenc_lib.__main__ import main
from posenc_lib.show import report

MINE = """
from torch import nn

def build(last=nn.Flatten()):
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.MaxPool2d(3, 2, 1), nn.ReLU(), nn.Conv2d(8, 20, 3, 2, 1),
                         nn.AdaptiveAvgPool2d(1), last)

class Dict(nn.Module):
    def forward(self, x):
        return {"answer": x}

def without_tensor():
    return build(Dict())
"""


@pytest.fixture
def probe(tmp_path, monkeypatch, capsys):
    """probe(*arguments) -> exit code, stdout, stderr; of the command, for a network in this folder."""
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)

    def run(*arguments, model="mine.py:build"):
        monkeypatch.setattr("sys.argv", ["posenc_lib", "probe", "--model", model, *arguments])
        code = main(["probe", "--model", model, *arguments])
        return code, *capsys.readouterr()
    return run


def test_a_report_has_every_section_and_is_replaced_by_the_same_only_on_request(probe, tmp_path):
    arguments = ("--size", "48", "--n-images", "12", "--layer", "3", "--out", "report")
    code, stdout, _ = probe(*arguments)
    out = tmp_path / "report"
    assert code == 0 and "report/report.html" in stdout
    text, html = (out / "report.md").read_text(), (out / "report.html").read_text()
    figures = re.findall(r"!\[.+?\]\((\w+)\.svg\)", text)
    assert figures == ["location", "border", "place_fields", "ablation"]
    for name in figures:
        assert (out / f"{name}.svg").stat().st_size and (out / f"{name}.png").stat().st_size
    assert html.count("data:image/svg+xml;base64,") == 4 and 'src="location.svg"' not in html
    assert re.findall(r'<img[^>]*alt=""', html) == [] and "<table>" in html and "http://" not in html
    assert "the first layer that responds to the border is `0`" in text and "in every convolution it is `1`" in text
    assert "python -m posenc_lib probe --model mine.py:build --size 48" in text
    table = pd.read_csv(out / "location.csv")
    row = table[table["head"] == "in_order"].set_index("layer").loc[3]
    assert f"| 3 | 20 | 11.1 | {row['ceiling']:.1f} | {row['mean']:.1f} [{row['low']:.1f}, " in text
    ablation = pd.read_csv(out / "ablation.csv")
    assert set(ablation["ablated"]) == {"highest_decodability", "highest_flip", "random", "rms_matched"}
    assert sorted(set(ablation["percent"])) == [5, 15, 50] and ablation["mean"].max() <= 1

    code, _, stderr = probe(*arguments)
    assert code == 2 and "out: report is not empty; name another folder, or use --overwrite" in stderr
    assert probe(*arguments, "--overwrite")[0] == 0
    assert set(table["layer"]) == {3}
    pd.testing.assert_frame_equal(pd.read_csv(out / "location.csv"), table)


def test_a_report_that_was_cut_off_is_replaced_on_request_and_leaves_nothing_beside_the_new_one(probe, tmp_path):
    out = tmp_path / "report"
    out.mkdir()
    for name in ("location.svg", "ablation.csv"):   # as a kill before the last step leaves them
        (out / name).touch()
    code, _, stderr = probe("--size", "32", "--n-images", "12", "--out", "report")
    assert code == 2 and "out: report is not empty; name another folder, or use --overwrite" in stderr
    arguments = ("--size", "32", "--n-images", "12", "--out", "report", "--overwrite")
    assert probe(*arguments, model="mine.py:without_tensor")[0] == 0
    assert (out / "report.html").is_file() and not (out / "ablation.csv").exists()   # this network has no ablation
    (out / "report.md").unlink()
    (out / "notes.txt").write_text("diary")   # not of a report
    code, _, stderr = probe(*arguments)
    assert code == 2 and "out: report is not empty" in stderr


def test_a_kill_leaves_no_old_text_beside_new_figures(probe, tmp_path, monkeypatch):
    (tmp_path / "report").mkdir()
    for name in report.FILES:
        (tmp_path / "report" / name).touch()

    def killed(*_, **__):
        raise ValueError("killed")

    monkeypatch.setattr(report, "_border", killed)
    assert probe("--size", "32", "--n-images", "12", "--out", "report", "--overwrite")[0] == 2
    assert sorted(file.name for file in (tmp_path / "report").iterdir()) == [
        "location.csv", "location.png", "location.svg"]


HIDDEN = """
from importlib import metadata
metadata.Distribution.from_name = classmethod(lambda cls, name, found=metadata.Distribution.from_name.__func__: (
    found(cls, "no-such-package" if name.replace("_", "-") == "posenc-book" else name)))
"""


def test_a_report_is_the_same_in_another_locale_with_other_settings_and_without_installation(probe, tmp_path):
    """The settings are read when Python starts, so this is the command itself."""
    (tmp_path / "mine é.py").write_text(MINE)
    (tmp_path / "matplotlibrc").write_text("font.size: 40\ntext.usetex: True\nbackend: TkAgg\n")
    (tmp_path / "sitecustomize.py").write_text(HIDDEN)
    code, *_ = probe("--size", "32", "--n-images", "12", "--out", "here")
    assert code == 0
    arguments = ["probe", "--model", "~/mine é.py:build", "--size", "32", "--n-images", "12", "--out=~/there é"]
    done = subprocess.run(
        [sys.executable, "-m", "posenc_lib", *arguments], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "HOME": str(tmp_path),
             "PYTHONPATH": f"{tmp_path}:{ROOT}", "MPLBACKEND": "module://editor"})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"probe: {tmp_path}/mine é.py:build, ")
    here, there = tmp_path / "here", tmp_path / "there é"
    text = (there / "report.md").read_text(encoding="utf-8")
    assert "η²" in text and "mine é.py:build" in text and f"posenc-book {__version__}, " in text
    assert 'charset="utf-8"' in (there / "report.html").read_text(encoding="utf-8")
    for name in ("location", "border", "place_fields"):
        assert (here / f"{name}.svg").read_bytes() == (there / f"{name}.svg").read_bytes()


def test_weights_and_images_of_the_reader_are_used(probe, tmp_path):
    save_file({"0.weight": torch.zeros(8, 3, 3, 3), "0.bias": torch.ones(8), "3.weight": torch.zeros(20, 8, 3, 3),
               "3.bias": torch.ones(20)}, tmp_path / "w.safetensors")
    (tmp_path / "photos" / "more").mkdir(parents=True)
    for n in range(13):
        Image.new("RGB", (60, 50), (20 * n, 0, 99)).save(tmp_path / "photos" / ("more" * (n % 2)) / f"{n}.png")
    code, *_ = probe("--size", "32", "--images", "photos", "--n-images", "12", "--weights", "w.safetensors")
    text = (tmp_path / "probe-mine.py-build" / "report.md").read_text()
    assert code == 0 and "w.safetensors. Probed with 12 images (photos)" in text
    assert "Location cannot be decoded from any layer" in text         # the weights are all zero
    assert "| flip response | – | – | – | – |" in text                  # and all channels equal


def test_a_network_without_a_tensor_as_output_gets_a_report_without_ablation(probe, tmp_path):
    code, *_ = probe("--size", "32", "--n-images", "12", "--out", "report", model="mine.py:without_tensor")
    text = (tmp_path / "report" / "report.md").read_text()
    assert code == 0 and "The network does not output a single tensor" in text and "ablation.svg" not in text


@pytest.mark.parametrize("arguments, model, sentence", [
    ((), "timm:resnet19", "model: timm has no network 'resnet19'; similar names are "),
    ((), "none.py:build", "model: none.py does not exist; name a network as timm:NAME"),
    (("--weights", "w.pth"), "mine.py:build",
     "weights: w.pth does not exist; put a .safetensors state dict of Sequential there"),
    (("--layer", "layer4"), "mine.py:build", "layer: Sequential has no layer 'layer4'; similar names are "),
    (("--layer", "5"), "mine.py:build", "layers: 5 of Sequential outputs no feature map; layers that do include "),
    (("--images", "nowhere"), "mine.py:build", "images: nowhere is not a folder; give "),
    (("--images", "empty"), "mine.py:build", "images: empty has no images (.jpg, "),
    (("--images", "few"), "mine.py:build", "images: few has 2 images; at least 12 are needed"),
    (("--images", "broken"), "mine.py:build", "broken/0.png cannot be read as an image"),
    (("--n-images", "3"), "mine.py:build", "n-images: 3 images were requested; use at least 12"),
    (("--grid", "40"), "mine.py:build", "probe: a 40x40 grid was requested"),
    (("--size", "0"), "mine.py:build", "size: a canvas of 0 pixels was requested; use at least 16"),
    (("--out", "mine.py"), "mine.py:build", "out: mine.py is a file; name a folder"),
    (("--out", "few", "--overwrite"), "mine.py:build", "out: few is not empty"),
])
def test_errors_are_one_sentence_and_leave_no_files(probe, tmp_path, arguments, model, sentence):
    for folder, n in (("empty", 0), ("few", 2)):
        (tmp_path / folder).mkdir()
        for k in range(n):
            Image.new("RGB", (9, 9)).save(tmp_path / folder / f"{k}.png")
    (tmp_path / "broken").mkdir()
    for k in range(12):
        (tmp_path / "broken" / f"{k}.png").write_bytes(b"not an image")
    before = sorted(tmp_path.rglob("*"))
    code, stdout, stderr = probe(*arguments, model=model)
    assert code == 2 and not stdout and sentence in stderr and stderr.count("\n") == 1
    assert [f for f in sorted(tmp_path.rglob("*")) if "__pycache__" not in f.parts] == before


def test_help_explains_the_command(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["probe", "--help"])
    stdout = capsys.readouterr().out
    assert ended.value.code == 0
    for word in ("--model timm:resnet18", "--weights", "--layer", "--images", "--out", "report.html", "Page 08"):
        assert word in stdout
