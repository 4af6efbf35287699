"""Weights and checkpoints of libraries and trainers are loaded, or refused in one sentence that says what is wrong."""
import argparse
import io
import pickle
import random
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_model, save, save_file, save_model
from torch import nn

from posenc_lib.nets import custom
from posenc_lib.nets.pretrained import load_weights
from posenc_lib.nets.segmenters import Segmenter, load_checkpoint


def build(width: int = 8) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 8, 3, 2, 1))


class Tied(nn.Module):
    """One layer under two names, and one parameter in two layers."""
    def __init__(self):
        super().__init__()
        self.stem, self.first = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1)
        self.second, self.third = self.first, nn.Conv2d(8, 8, 3, 1, 1)
        self.third.bias = self.first.bias

    def forward(self, x):
        return self.third(self.second(self.first(self.stem(x)))).mean((2, 3))


def trained(make=build) -> nn.Module:
    torch.manual_seed(1)
    net = make()
    for buffer in net.buffers():
        buffer.copy_(torch.randint(1, 9, buffer.shape))
    return net


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def under(prefix: str, state: dict) -> dict:
    return {prefix + name: tensor for name, tensor in state.items()}


def other() -> dict:
    return {name: tensor + 1 for name, tensor in trained().state_dict().items()}


ADAM = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}
TRAINERS = {
    "bare": lambda s: s,
    "DataParallel": lambda s: under("module.", s),
    "torch.compile": lambda s: under("_orig_mod.", s),
    "DataParallel of torch.compile": lambda s: under("module._orig_mod.", s),
    "torch.compile of DataParallel": lambda s: under("_orig_mod.module.", s),
    "torch.compile of a part": lambda s: {name.replace(".", "._orig_mod.", 1): tensor for name, tensor in s.items()},
    "DataParallel of a part": lambda s: {name.replace(".", ".module.", 1): tensor for name, tensor in s.items()},
    "Lightning": lambda s: {"state_dict": under("model.", s), "epoch": 1, "global_step": 7, "optimizer_states": [ADAM],
                            "pytorch-lightning_version": "2.6.0", "hyper_parameters": {"lr": 0.1}},
    "Lightning with torch.compile": lambda s: {"state_dict": under("model._orig_mod.", s)},
    "Lightning with a weighted loss": lambda s: {"state_dict": {**under("net.", s), "loss.weight": torch.ones(3)}},
    "Lightning with an EMA": lambda s: {"state_dict": {**under("model.", s), **under("ema_model.module.", other())}},
    "PyTorch's tutorial": lambda s: {"model_state_dict": s, "epoch": 1, "optimizer_state_dict": ADAM, "loss": 0.3},
    "torchvision's references": lambda s: {"model": s, "optimizer": ADAM, "lr_scheduler": {"last_epoch": 3}, "epoch": 3,
                                           "args": argparse.Namespace(lr=0.1)},
    "timm": lambda s: {"state_dict": s, "epoch": 3, "arch": "x", "optimizer": ADAM, "version": 2, "metric": 76.5,
                       "args": argparse.Namespace(lr=0.1)},
    "timm with an EMA": lambda s: {"state_dict": other(), "state_dict_ema": s, "arch": "x"},
    "torchvision with an EMA": lambda s: {"model": under("module.", other()),
                                          "model_ema": {"n_averaged": torch.tensor(9), **under("module.", s)}},
    "AveragedModel": lambda s: {"n_averaged": torch.tensor(9), **under("module.", s)},
    "the authors": lambda s: {"model_state": under("module.", s), "best_score": np.float64(0.7), "cur_itrs": 3},
    "another name": lambda s: {"generator": s, "step": 3},
    "in a name": lambda s: under("encoder.backbone.", s),
    "an entry of an entry": lambda s: {"model": {"state_dict": s}},
    "OrderedDict": lambda s: OrderedDict(s),
    "half precision": lambda s: {name: t.half() if t.is_floating_point() else t for name, t in s.items()},
    "bfloat16": lambda s: {name: t.bfloat16() if t.is_floating_point() else t for name, t in s.items()},
    "parameters": lambda s: {name: nn.Parameter(t, requires_grad=t.is_floating_point()) for name, t in s.items()},
}


@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize("suffix", ["pth", "ckpt", "safetensors", "weights"])
def test_what_trainers_save_is_loaded(tmp_path, trainer, suffix):
    net, file = trained(), tmp_path / f"w.{suffix}"
    saved = TRAINERS[trainer](net.state_dict())
    if suffix == "safetensors" and all(isinstance(value, torch.Tensor) for value in saved.values()):
        save_file(dict(saved), file)
    else:
        torch.save(saved, file)   # also under a wrong name
    if trainer in ("half precision", "bfloat16"):
        net = (net.half() if trainer == "half precision" else net.bfloat16()).float()
    assert same(load_weights(build().train(), file), net)


@pytest.mark.parametrize("trainer", [name for name in TRAINERS if name not in ("half precision", "bfloat16")])
def test_page_06_reads_the_same_files(tmp_path, monkeypatch, trainer):
    def segmenter():
        return Segmenter("resnet18", 3, width=2, output_stride=8, rates=(1, 2), head=4)

    net = trained(segmenter)
    monkeypatch.setitem(globals(), "other", lambda: {name: t + 1 for name, t in net.state_dict().items()})
    torch.save(TRAINERS[trainer](net.state_dict()), tmp_path / "w.pth")
    assert same(load_checkpoint(segmenter(), tmp_path / "w.pth"), net)


def test_tied_weights_are_loaded_as_safetensors_saves_them(tmp_path):
    net, file = trained(Tied), tmp_path / "w.safetensors"
    save_model(net, file)
    assert load_model(Tied(), file) == (set(), [])
    loaded = load_weights(Tied(), file)
    assert same(loaded, net) and loaded.first is loaded.second and loaded.third.bias is loaded.first.bias
    torch.save({"state_dict": under("model.", net.state_dict())}, tmp_path / "w.ckpt")
    assert same(load_weights(Tied(), tmp_path / "w.ckpt"), net)
    state = {name: tensor.clone() for name, tensor in net.state_dict().items() if "first" not in name}
    save_file(state, file)
    assert same(load_weights(Tied(), file), net)
    del state["stem.bias"]
    save_file(state, file)
    with pytest.raises(ValueError, match=r"it has 8 tensors, the model 9|they differ in stem\.bias"):
        load_weights(Tied(), file)


class Code:
    def __reduce__(self):
        return open, ("made", "w")


def damaged(content: bytes) -> bytes:
    return content[:len(content) // 2]


def archive() -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as parts:
            parts.writestr("readme.txt", "no weights")
        return file.getvalue()


def saved(what) -> bytes:
    file = io.BytesIO()
    torch.save(what, file)
    return file.getvalue()


STATE = trained().state_dict()
WRONG = {   # name of the file, content, what the sentence says
    "half a safetensors file": ("w.safetensors", lambda: damaged(save(STATE)), "is damaged or not a safetensors fi"),
    "half a checkpoint": ("w.pth", lambda: damaged(saved(STATE)), "w.pth is damaged or not a checkpoint ("),
    "an empty file": ("w.pth", lambda: b"", "is damaged or not a checkpoint (it is empty)"),
    "an empty safetensors file": ("w.safetensors", lambda: b"", "is damaged or not a safetensors file ("),
    "a text": ("w.safetensors", lambda: b"version https://git-lfs.github.com/spec/v1\n", "not a safetensors file ("),
    "an archive": ("w.pth", archive, "is damaged or not a checkpoint ("),
    "a whole network": ("w.pth", lambda: saved(build()), "holds more than tensors and plain values, a torch.nn.mod"),
    "code": ("w.pth", lambda: saved({"state_dict": STATE, "x": Code()}), "it was not loaded, because that could run"),
    "a pickle": ("w.safetensors", lambda: pickle.dumps({"x": Code()}), "holds more than tensors and plain values"),
    "a number": ("w.pth", lambda: saved(3), "holds no state dict, only a int; save net.state_dict() alone"),
    "a list": ("w.pth", lambda: saved([STATE]), "holds no state dict, only a list"),
    "nothing": ("w.pth", lambda: saved({}), "holds no state dict, only an empty dict"),
    "an optimiser": ("w.pth", lambda: saved(ADAM), "holds no state dict, only the entries state, param_groups"),
    "two": ("w.pth", lambda: saved({"student": STATE, "teacher": STATE}), "holds several state dicts, student, tea"),
    "two prefixes": ("w.pth", lambda: saved({**under("a.", STATE), **under("b.", STATE)}),
                     "has these weights 2 times, under a., b.; save one of them alone"),
    "itself": ("w.pth", lambda: saved((lambda d: d.update(model=d) or d)({})), "holds no state dict, only the entries"),
    "another width": ("w.pth", lambda: saved(trained(lambda: build(6)).state_dict()),
                      "they differ in the shapes of its tensors (0.weight is 6x3x3x3, not 8x3x3x3)"),
    "a missing tensor": ("w.pth", lambda: saved({name: t for name, t in STATE.items() if name != "3.bias"}),
                         "it has 8 tensors, the model 9; they differ in 3.bias"),
    "a missing tensor under a prefix": (
        "w.pth", lambda: saved({"state_dict": under("model.", {n: t for n, t in STATE.items() if n != "3.bias"})}),
        "it has 8 tensors (without 'model.' before their names), the model 9; they differ in 3.bias"),
    "another tensor": ("w.pth", lambda: saved({**STATE, "extra": torch.ones(1)}), "they differ in extra"),
    "a name of two lines": ("w.pth", lambda: saved({**STATE, "a\nb": torch.ones(1)}), "they differ in a b"),
    "quantised": ("w.safetensors", lambda: save({**STATE, "0.weight": STATE["0.weight"].to(torch.int8)}),
                  "has 0.weight as torch.int8, but Sequential computes with floating-point numbers"),
    "complex": ("w.pth", lambda: saved({**STATE, "0.weight": STATE["0.weight"].to(torch.complex64)}),
                "has 0.weight as torch.complex64"),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_weights_is_said_in_one_sentence(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    file, content, sentence = WRONG[name]
    Path(file).write_bytes(content())
    with pytest.raises(ValueError) as error:
        load_weights(build(), file)
    assert sentence in str(error.value) and "\n" not in str(error.value) and str(error.value).startswith("weights: w.")
    assert not Path("made").exists()


def test_a_network_in_torchscript_is_no_state_dict(tmp_path):
    with pytest.warns(DeprecationWarning):
        torch.jit.save(torch.jit.script(build()), tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"w\.pt is a network compiled by TorchScript, not a state dict; save net"):
        load_weights(build(), tmp_path / "w.pt")


def test_old_formats_of_torch_and_of_weight_norm_are_read(tmp_path):
    net = trained()
    torch.save(net.state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert same(load_weights(build(), tmp_path / "old.pth"), net)
    with pytest.warns(FutureWarning):
        theirs = nn.Sequential(nn.utils.weight_norm(nn.Conv2d(3, 4, 3)))
    torch.save(theirs.state_dict(), tmp_path / "g_and_v.pth")
    ours = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)))
    load_weights(ours, tmp_path / "g_and_v.pth")
    assert torch.allclose(ours[0].weight, theirs[0].weight)


def test_the_command_reads_them_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("import test_weights\nbuild = test_weights.build\n")
    torch.save(TRAINERS["Lightning"](trained().state_dict()), "w.ckpt")
    assert same(custom.load("mine.py:build", "w.ckpt").model, trained())


# ------------------------------------------------------------------------------------------ mutations


def mutated(dice: random.Random) -> tuple[str, bytes]:
    """A file of weights with something wrong with it, or nothing: its suffix and content."""
    state = dict(trained().state_dict())
    for _ in range(dice.randint(0, 2)):
        name = dice.choice([name for name, value in state.items() if isinstance(value, torch.Tensor)] or [""])
        if not name:
            break
        tensor = state[name]
        change = dice.choice(["missing", "extra", "renamed", "shape", "dtype", "odd", "nan", "empty"])
        if change in ("missing", "renamed"):
            del state[name]
        if change in ("extra", "renamed"):
            before = dice.choice(["", "x", ".", "0", "0.", ".weight", "0.weight.x", "model", "state_dict", "é\n",
                                  "module."])
            state[before + dice.choice(["", name])] = tensor
        if change == "shape":
            state[name] = dice.choice([tensor[None], tensor.flatten(), tensor.new_zeros(()), tensor.new_zeros(2, 0)])
        if change == "dtype":
            state[name] = tensor.to(dice.choice([torch.int8, torch.bool, torch.float64, torch.float16, torch.complex64,
                                                 torch.uint8, torch.float8_e4m3fn, torch.int64]))
        if change == "odd":
            state[name] = dice.choice([None, 3, "x", [], {}, (tensor,), {"a": tensor}, b"\0", float("nan"),
                                       np.ones(3), torch.eye(3).to_sparse(), {name: {name: tensor}},
                                       lambda: 0])
        if change == "nan":
            state[name] = torch.full_like(tensor, float("nan") if tensor.is_floating_point() else -1)
        if change == "empty":
            state = dice.choice([{}, {name: tensor}, state])
            if not state:
                break
    wrap = dice.choice([*TRAINERS.values(), *[TRAINERS["bare"]] * 8]) if len(state) == len(STATE) else TRAINERS["bare"]
    suffix = dice.choice(["pth", "safetensors", "pt", "bin", "x", "ckpt"])
    try:
        whole = wrap(state)
    except AttributeError:   # half of what is no tensor
        whole = state
    for _ in range(dice.randint(0, 2)):
        whole = dice.choice([{"model": whole}, {"state_dict": whole, "x": 3}, {3: whole}, [whole],
                             {"a": whole, "b": whole}, {"module": whole}, whole, whole])
    try:
        content = save(whole) if dice.random() < 0.5 else saved(whole)
    except Exception:   # safetensors saves tensors, and pickle no function
        content = saved({name: value for name, value in state.items() if isinstance(value, torch.Tensor)})
    content = bytearray(content)
    for _ in range(dice.choice([0, 0, 1, 1, 3])):
        at = dice.randrange(min(len(content), dice.choice([40, 2000, 10 ** 9])))
        kind = dice.choice(["flip", "cut", "without", "noise"])
        if kind == "flip":
            content[at] ^= 1 << dice.randrange(8)
        elif kind == "cut":
            del content[at:]
        elif kind == "without":
            del content[at:at + dice.randint(1, 40)]
        else:
            content[at:at] = dice.randbytes(dice.randint(1, 8))
        if not content:
            break
    return suffix, bytes(content)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=20 if settings().max_examples == 20 else 1000)
@given(st.integers(0, 2 ** 32))
def test_mutated_files_are_loaded_or_refused_in_one_sentence(tmp_path_factory, seed):
    suffix, content = mutated(random.Random(seed))
    file = tmp_path_factory.getbasetemp() / f"mutated.{suffix}"
    file.write_bytes(content)
    net = build()
    try:
        load_weights(net, file)
    except ValueError as error:
        event("refused")
        assert str(error).startswith(f"weights: {file} ") and "\n" not in str(error), seed
    else:
        event("loaded")
        assert [tensor.shape for tensor in net.state_dict().values()] == [tensor.shape for tensor in STATE.values()]
