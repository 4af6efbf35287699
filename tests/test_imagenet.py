"""Images read from files: two processes train what one trains, a killed run ends as if it had not been, a wrong
question gets one sentence.  On the CPU, where two processes and one can be compared.
"""
import json
import os
import re
import runpy
import signal
import sys
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from torch import Tensor, nn
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from posenc_lib.__main__ import main
from posenc_lib.data.imageset import IMAGENET
from posenc_lib.experiments import augshift_imagenet
from posenc_lib.run import training

EPOCHS = 6
CONFIG = augshift_imagenet.ImageNetConfig(
    profile="paper", dataset="pictures", data="", width=None, backbone="test_convnext", shift=4, size=32
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Coloured noise, more or less blue or red: 2 x 8 to train, 2 x 5 to test; no pixel is near black."""
    root, draws = tmp_path_factory.mktemp("data") / "pictures", np.random.default_rng(0)
    for split, n in (("train", 8), ("val", 5)):
        for label, colour in (("blue", (120, 130, 145)), ("red", (145, 130, 120))):
            (root / split / label).mkdir(parents=True)
            for number in range(n):
                tint = np.array(colour) + draws.integers(-20, 21, 3)
                pixels = tint + draws.integers(-50, 51, (40 + number, 49 - number, 3))
                Image.fromarray(pixels.astype(np.uint8)).save(root / split / label / f"{label}{number}.png")
    return root


def arguments(data: Path, out: Path, *more: object) -> list[str]:
    """Of the command; no batch normalisation in the network, whose statistics two processes would take apart."""
    given = {"--data": data, "--out": out, "--arch": "test_convnext", "--size": 32, "--shift": 4, "--batch-size": 8,
             "--epochs": EPOCHS, "--learning-rate": 0.02, "--workers": 0}
    return ["augshift", *(str(x) for pair in given.items() for x in pair), *map(str, more)]


def by_two(arguments: list[str], start=main) -> None:
    """What `torchrun --nproc-per-node 2 -m posenc_lib` does, with workers that need not import everything anew."""
    get_context("forkserver").set_forkserver_preload([main.__module__])
    config = LaunchConfig(min_nodes=1, max_nodes=1, nproc_per_node=2, rdzv_backend="c10d", rdzv_endpoint="localhost:0",
                          run_id="test", max_restarts=0, monitor_interval=0.1, start_method="forkserver")
    codes = elastic_launch(config, start)(arguments)
    assert set(codes.values()) == {0}


def killed_after_an_epoch(arguments: list[str]) -> int:
    """`main` in a process that is killed as soon as the first epoch is in the checkpoint."""
    save = training._save

    def save_and_die(*state):
        save(*state)
        os.kill(os.getpid(), signal.SIGKILL)

    training._save = save_and_die
    return main(arguments)


def kept(out: Path) -> list[dict]:
    file = out / "records" / "paper" / "augshift.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def checkpoints(out: Path) -> list[Path]:
    return list((out / "build" / "checkpoints").glob("*.pt"))


@pytest.fixture
def cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def in_workers(monkeypatch):
    """The environment of the workers: no GPU, one thread."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.slow
def test_two_processes_train_what_one_trains_even_if_they_were_killed(pictures, tmp_path, cpu, in_workers, capsys):
    """AugShift, whose batches hold two views of each image."""
    alone, together = (arguments(pictures, tmp_path / name, "--method", "augshift") for name in ("one", "two"))
    assert main(alone) == 0
    (record,) = kept(tmp_path / "one")
    assert len(record["results"]["losses"]) == EPOCHS and not checkpoints(tmp_path / "one")

    with pytest.raises(ChildFailedError, match=r"Signal 9|SIGKILL"):
        by_two(together, killed_after_an_epoch)
    (file,) = checkpoints(tmp_path / "two")
    state = torch.load(file, weights_only=True)
    assert len(state["history"]) == 1 and not kept(tmp_path / "two")
    state["history"][0]["loss"] += 1   # so that a run from the start would show
    torch.save(state, file)

    by_two(together)
    (record_of_two,) = kept(tmp_path / "two")
    first, *others = record_of_two["results"]["losses"]
    assert [first - 1, *others] == pytest.approx(record["results"]["losses"], rel=1e-4)
    assert record_of_two["results"]["top1"] == record["results"]["top1"]
    assert record_of_two["results"].keys() == record["results"].keys() and not checkpoints(tmp_path / "two")

    capsys.readouterr()
    assert main(alone) == 0   # a second call
    assert "already contains this run" in capsys.readouterr().out and kept(tmp_path / "one") == [record]


def test_another_size_is_another_run(pictures, tmp_path, cpu, monkeypatch, capsys):
    monkeypatch.setattr(augshift_imagenet, "run", lambda *given: {"top1": 0.5})
    for size in (32, 40):
        main(arguments(pictures, tmp_path, "--size", size))
    assert len(kept(tmp_path)) == 2


@pytest.mark.parametrize("epochs, batch, steps, warmup", [(2, 8, 2, 1), (90, 5, 3, 5), (1, 16, 1, 0)])
def test_an_epoch_is_made_of_whole_batches(pictures, epochs, batch, steps, warmup):
    recipe = augshift_imagenet.configure(pictures, CONFIG, epochs, batch, 0.1).recipe
    assert (recipe.epochs, recipe.epoch_steps, recipe.batch_size, recipe.warmup) == (epochs, steps, batch, warmup)


def test_data_are_named_by_their_files_and_labels(pictures, tmp_path):
    for split in ("train", "val"):
        for label in ("blue", "red"):
            (tmp_path / split / label).mkdir(parents=True)
            for file in (pictures / split / label).iterdir():
                (tmp_path / split / label / file.name).symlink_to(file)

    def name(root):
        return augshift_imagenet.configure(root, CONFIG, 2, 8, 0.1).data

    assert name(tmp_path) == name(pictures)
    (tmp_path / "train" / "red" / "red0.png").rename(tmp_path / "train" / "blue" / "red0.png")
    assert name(tmp_path) != name(pictures)


@pytest.mark.parametrize("method, arch, size", [
    ("blurpool", "resnet18", 64), ("random_padding", "resnet18.a1_in1k", 32),
    ("circular_padding", "mobilenetv3_small_050", 96), ("augshift", "test_vit", 160)])
def test_a_network_that_can_train_on_these_images_is_accepted(pictures, method, arch, size):
    state = torch.random.get_rng_state()
    c = augshift_imagenet.configure(pictures, replace(CONFIG, method=method, backbone=arch, size=size), 2, 8, 0.1)
    assert (c.method, c.backbone) == (method, arch) and torch.equal(torch.random.get_rng_state(), state)


def streamed(pictures, method="augshift", **options) -> augshift_imagenet.Streamed:
    return augshift_imagenet.Streamed(
        augshift_imagenet.open_folder(pictures, "train"), replace(CONFIG, method=method), **options
    )


def test_what_is_seen_of_an_image_depends_on_its_number_and_the_epochs_seed_alone(pictures):
    images = streamed(pictures)
    torch.manual_seed(5)
    (first, label), state = images[3, 7], torch.get_rng_state()
    torch.rand(3)
    images[4, 7]
    assert torch.equal(images[3, 7][0], first) and label == 0 and images[8, 7][1] == 1
    others = [images[3, 8][0], images[4, 7][0]]
    assert not any(torch.equal(first, other) for other in others)
    torch.manual_seed(5)
    assert torch.equal(state, torch.get_rng_state())   # the caller's randomness is untouched


@pytest.mark.parametrize("method, views", [("baseline", 1), ("one_crop", 1), ("augshift", 2)])
def test_batches_are_views_of_each_image_normalised(pictures, method, views):
    images, indices = streamed(pictures, method), [torch.tensor([3, 9, 0]), torch.tensor([15])]
    batches = list(images.batches(indices, 7))
    assert [tuple(pixels.shape) for pixels, _ in batches] == [(3, views, 3, 32, 32), (1, views, 3, 32, 32)]
    assert [labels.tolist() for _, labels in batches] == [[0, 1, 0], [1]]
    mean, std = (torch.tensor(numbers).reshape(3, 1, 1) for numbers in IMAGENET)
    for n, number in enumerate((3, 9, 0)):
        stored = images[number, 7][0]
        assert stored.dtype == torch.uint8 and stored.min() > 25   # no view reaches beyond its picture
        torch.testing.assert_close(batches[0][0][n], (stored / 255 - mean) / std)


@pytest.mark.slow
def test_it_is_the_same_whoever_reads(pictures):
    indices = list(torch.arange(16).split(5))
    for one, other in zip(streamed(pictures).batches(indices, 7), streamed(pictures, workers=2).batches(indices, 7),
                          strict=True):
        assert all(map(torch.equal, one, other))


def offset(first: Tensor, second: Tensor, reach: int) -> tuple[int, int]:
    """By how many pixels, down and right, the second is moved against the first; all that they share is the same."""
    side, found = first.shape[-1], []
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            ours = first[:, max(0, -down):side - max(0, down), max(0, -right):side - max(0, right)]
            theirs = second[:, max(0, down):side + min(0, down), max(0, right):side + min(0, right)]
            found += [(down, right)] if torch.equal(ours, theirs) else []
    (only,) = found
    return only


def test_two_views_are_windows_of_one_picture(pictures):
    images = streamed(pictures)
    offsets = [offset(*images[number, 7][0], reach=8) for number in range(16)]
    assert len(set(offsets)) > 10
    assert max(abs(d) for moved in offsets for d in moved) > 4   # each moves by up to 4 of its own
    later = [offset(*images[number - 1, 8][0], reach=8) for number in range(1, 16)]
    assert sum(map(tuple.__eq__, later, offsets[1:])) < 3   # another epoch does not hand on what a neighbour drew


class Judge(nn.Module):
    """An answer by hand: `judge` says of normalised images which are of the second class.  Keeps what it was shown."""
    def __init__(self, judge):
        super().__init__()
        self.judge, self.shown = judge, []

    def forward(self, images):
        self.shown.append(images)
        second = self.judge(images).float()
        return images.mean((-2, -1)), torch.stack([1 - second, second], 1)


def blue(images):
    return torch.zeros(len(images), dtype=torch.bool)


def torn(images):
    """Whether the first row is black: no pixel of a picture is."""
    return (images[:, :, 0] < -1.7).flatten(1).all(1)


def looked(net, pictures, size, **options) -> dict[str, float]:
    return augshift_imagenet.evaluate(
        net, augshift_imagenet.open_folder(pictures, "val"), size, torch.device("cpu"), **options
    )


def test_top_1_is_over_all_images_however_they_are_batched(pictures):
    assert {looked(Judge(blue), pictures, 32, batch=n, everything=False)["top1"] for n in (3, 4, 250)} == {0.5}


def test_top_1_counts_the_labels_that_are_told(pictures):
    """By the file: each picture's mean colour gives its label away, but for the two that are given the wrong one."""
    net = Judge(blue)
    looked(net, pictures, 32, everything=False)
    (shown,) = net.shown
    means = shown.mean((1, 2, 3))
    wanted = torch.tensor([False] * 4 + [True] * 5 + [False])   # wrong for the last of each class

    def by_heart(images):
        return torch.stack([wanted[(means - mean).abs().argmin()] for mean in images.mean((1, 2, 3))])

    assert looked(Judge(by_heart), pictures, 32, batch=4, everything=False) == {"top1": pytest.approx(0.8)}


@pytest.mark.parametrize("size, true", [(32, ()), (112, (8,)), (224, (8, 16))])
def test_a_constant_network_is_consistent_everywhere(pictures, size, true):
    found = looked(Judge(blue), pictures, size, batch=4)
    curve = [f"consistency_{n}_constant" for n in (8, 16, 32, 40, 48, 64)]
    assert found == {"top1": 0.5, **{f"consistency_{n}_true": 1.0 for n in true}, **dict.fromkeys(curve, 1.0)}


def test_only_shifts_with_a_black_border_uncover_black(pictures):
    found = looked(Judge(torn), pictures, 112)
    assert found["top1"] == 0.5 and found["consistency_8_true"] == 1.0
    assert all(found[f"consistency_{n}_constant"] < 1 for n in augshift_imagenet.CURVE)


def test_each_image_is_shown_once_its_middle(pictures):
    net = Judge(blue)
    looked(net, pictures, 112, batch=4, everything=False)
    shown = torch.cat(net.shown)
    assert shown.shape == (10, 3, 112, 112)
    folder, (mean, std) = (
        augshift_imagenet.open_folder(pictures, "val"),
        (torch.tensor(n).reshape(3, 1, 1) for n in IMAGENET),
    )
    for one, (image, _) in zip(shown, folder, strict=True):
        scale = 128 / min(image.size)   # the shorter side is 128, of which 8 are left out at each end
        whole = image.resize([int(scale * side) for side in image.size], Image.Resampling.BILINEAR)
        left, top = (round((side - 128) / 2) + 8 for side in whole.size)
        middle = torch.from_numpy(np.array(whole.crop((left, top, left + 112, top + 112)))).permute(2, 0, 1)
        assert (one - (middle / 255 - mean) / std).abs().mean() < 0.02


def test_processes_share_the_test_images_and_their_sums(pictures, monkeypatch):
    """Three of them, one after the other: 4, 3 and 3 images; the last has the sums of all."""
    sums, counts, answers = torch.zeros(3 - 1), [], []
    for rank in range(3):
        def add(totals):
            sums.add_(totals)
            totals.copy_(sums)

        monkeypatch.setattr(augshift_imagenet, "distributed", SimpleNamespace(
            is_initialized=lambda: True, get_rank=lambda rank=rank: rank, get_world_size=lambda: 3, all_reduce=add))
        net = Judge(blue)
        answers.append(looked(net, pictures, 32, batch=2, everything=False)["top1"])
        counts.append(sum(map(len, net.shown)))
    assert counts == [4, 3, 3] and sums.tolist() == [10, 5]
    assert answers == pytest.approx([2 / 4, 4 / 7, 5 / 10])   # by turns: the second has blue 1 and 4, then red 2


def like(pictures: Path, root: Path) -> Path:
    """The same folders, with links to the pictures."""
    for file in pictures.glob("*/*/*.png"):
        link = root / file.relative_to(pictures)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    return root


@pytest.mark.parametrize("file, content, workers", [
    ("train/red/red3.png", b"half", 0), ("train/red/red3.png", b"no image", 1),
    ("val/red/red0.png", b"half", 1), ("val/red/red0.png", b"no image", 0),
])
def test_a_damaged_picture_is_one_sentence_in_the_middle_of_a_training(pictures, tmp_path, cpu, capsys, file, content,
                                                                       workers):
    """Whether the training process reads it or a worker does."""
    root = like(pictures, tmp_path / "pictures")
    whole = (root / file).read_bytes()
    (root / file).unlink()
    (root / file).write_bytes(whole[:len(whole) // 2] if content == b"half" else content)
    asked = arguments(root, tmp_path / "out", "--workers", workers, "--epochs", 1)
    assert main(asked) == 2
    out, err = capsys.readouterr()
    assert not out and re.fullmatch(rf"python -m posenc_lib: data: {root / file} cannot be read as an image "
                                    r"\([^\n]+\); replace it or remove it\n", err), err
    assert not kept(tmp_path / "out")


def test_pictures_are_streamed_as_viewers_show_them_and_as_others_read_them(pictures, tmp_path):
    """EXIF orientation, and 16 bits of grey: the views are those of the picture stored upright and with 8 bits."""
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 8
    stored, upright = (like(pictures, tmp_path / name) for name in ("stored", "upright"))
    for split in ("train", "val"):
        ramp = np.linspace(0, 65535, 48).astype(np.uint16)[None].repeat(44, 0)
        for root, image, exif in ((stored, np.rot90(ramp, -1), turned), (upright, (ramp >> 8).astype(np.uint8), None)):
            (root / split / "blue" / "blue0.png").unlink()
            Image.fromarray(np.ascontiguousarray(image)).save(root / split / "blue" / "blue0.png", exif=exif)
    one, other = streamed(stored), streamed(upright)
    assert all(torch.equal(one[n, 7][0], other[n, 7][0]) for n in range(3))
    shown = []
    for root in (stored, upright):
        net = Judge(blue)
        looked(net, root, 32, everything=False)
        shown.append(torch.cat(net.shown))
    assert torch.equal(*shown)


@pytest.mark.parametrize("left", ["train/.ipynb_checkpoints/0.png", "val/blue/.ipynb_checkpoints/0.png",
                                  "train/red/._red0.png", "val/@eaDir/red0.png", "train/red/@eaDir/red0.png/a.png",
                                  "train/.DS_Store", "val/red/Thumbs.db", "train/__MACOSX/red/._red0.png"])
def test_what_other_programs_leave_in_folders_is_not_streamed(pictures, tmp_path, left):
    root = like(pictures, tmp_path / "pictures")
    (root / left).parent.mkdir(parents=True, exist_ok=True)
    (root / left).write_bytes(b"\0\5\x16\7")
    expected, found = (augshift_imagenet.configure(folder, CONFIG, 2, 8, 0.1) for folder in (pictures, root))
    assert found.data == expected.data
    assert augshift_imagenet.open_folder(root, "train").classes == ["blue", "red"]


def test_folders_of_classes_may_be_links_with_capital_endings_and_folders_inside(pictures, tmp_path):
    expected = augshift_imagenet.configure(pictures, CONFIG, 2, 8, 0.1).data
    for split in ("train", "val"):
        (tmp_path / "linked" / split).mkdir(parents=True)
        for label in ("blue", "red"):
            (tmp_path / "linked" / split / label).symlink_to(pictures / split / label)
    assert augshift_imagenet.configure(tmp_path / "linked", CONFIG, 2, 8, 0.1).data == expected
    (tmp_path / "linked" / "val" / "back").symlink_to(tmp_path / "linked")
    with pytest.raises(FileNotFoundError, match=r"val does not hold images by class \(Found no image of the class"):
        augshift_imagenet.open_folder(tmp_path / "linked", "val")
    for file in pictures.glob("*/*/*.png"):
        split, label, name = file.relative_to(pictures).parts
        link = tmp_path / "tiny" / split / label / "images" / Path(name).with_suffix(".JPEG")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    assert augshift_imagenet.open_folder(tmp_path / "tiny", "train").classes == ["blue", "red"]


ERRORS = {
    "only hidden folders": (["--data", "{}/only hidden folders"], "Couldn't find any class folder in "),
    "no folder": (["--data", "nowhere"], r"imagenet: nowhere/train does not hold images by class .*; --data names the"),
    "no val": (["--data", "{}/no val"], r"imagenet: .*no val/val does not hold images by class"),
    "an empty class": (["--data", "{}/an empty class"], "classes? green"),
    "no method": (["--method", "shift"], "method: 'shift' is not supported; choose from 'baseline', 'one_crop', "),
    "no network": (["--arch", "resnet81"], r"backbone: timm has no model 'resnet81'; similar names are resnet\d+"),
    "a batch too large": (["--batch-size", "17"], "a batch size of 17 does not fit 16 training images; give 1 to 16"),
    "a map too small": (["--method", "blurpool", "--arch", "resnet18", "--size", "16"],
                        "resnet18 with blurpool cannot train on images of 16 pixels: RuntimeError: .*; choose another"),
    "another size": (["--arch", "vit_tiny_patch16_224"],
                     "vit_tiny_patch16_224 with augshift cannot train on images of 32 pixels: AssertionError: Input"),
    "one value a channel": (["--arch", "resnet18", "--method", "baseline", "--batch-size", "1"],
                            "cannot train on images of 32 pixels: ValueError: Expected more than 1 value per channel"),
    "no tag": (["--arch", "resnet18.b9"], "backbone: timm's resnet18 has no weights tagged 'b9'; its tags are a1_in"),
    "blur": (["--method", "blurpool"], "timm has no BlurPool for test_convnext, only for its ResNets"),
    "a file": (["--data", __file__], "does not hold images by class"),
    "a batch of none": (["--batch-size", "0"], "a batch size of 0 does not fit"),
    "other classes": (["--data", "{}/other classes"], "have different classes, such as blue; give both"),
    "no epoch": (["--epochs", "0"], "0 epochs, shifts of 4 and images of 32 pixels are not possible"),
    "a shift back": (["--shift", "-1"], "shifts of -1"),
    "diverged": (["--learning-rate", "1e30"], "fit: the loss is nan by step .*; lower the learning rate"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_is_wrong_is_told_in_one_sentence(pictures, tmp_path, cpu, capsys, name):
    folder, (asked, sentence) = tmp_path / name, ERRORS[name]
    folder.mkdir()
    (folder / "train").symlink_to(pictures / "train")
    if name == "an empty class":
        (folder / "val" / "green").mkdir(parents=True)
    if name == "only hidden folders":
        (folder / "val" / ".thumbnails").mkdir(parents=True)
    if name == "other classes":   # labels would be told by number, and mean something else
        (folder / "val").mkdir()
        (folder / "val" / "red").symlink_to(pictures / "val" / "red")
    assert main(arguments(pictures, tmp_path / "out", *(x.format(tmp_path) for x in asked))) == 2
    out, err = capsys.readouterr()
    assert not out and re.fullmatch(rf"python -m posenc_lib: [^\n]*{sentence}[^\n]*\n", err), err
    assert not (tmp_path / "out").exists()


def test_the_exit_code_of_an_error_is_2(tmp_path, monkeypatch, capsys):
    """Of `python -m posenc_lib`, run in this process."""
    monkeypatch.setattr(sys, "argv", ["posenc_lib", *arguments(tmp_path / "nowhere", tmp_path / "out")])
    monkeypatch.delitem(sys.modules, "posenc_lib.__main__")
    with pytest.raises(SystemExit) as end:
        runpy.run_module("posenc_lib", run_name="__main__")
    out, err = capsys.readouterr()
    assert end.value.code == 2 and not out and not os.listdir(tmp_path)
    assert err.count("\n") == 1 and err.startswith("python -m posenc_lib: imagenet: ")
