"""Downloads that are truncated, corrupted or contain code: one sentence, nothing is kept, and the next attempt works.

The server runs on this machine.
"""
import hashlib
import pickle
import tarfile
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save
from test_data import write_torchvision_layout
from test_training import Trap, same
from torchvision.models import Weights, WeightsEnum

from posenc_lib.data import cifar, registry
from posenc_lib.nets import custom, pretrained


class Server(ThreadingHTTPServer):
    """Serves `content` under every name, damaged according to `damage`, with its SHA-256 as a model hub does."""
    damage, content = "", b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.head(len(self.server.content))

    def do_GET(self):
        content = self.server.content
        half, middle = content[:len(content) // 2], len(content) // 2
        if self.server.damage == "nothing":
            return   # closes
        if self.server.damage == "half":
            content = half
        if self.server.damage == "a byte":
            content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1:]
        self.head(len(content))
        self.wfile.write(half if self.server.damage == "closed early" else content)

    def head(self, length: int):
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.send_header("ETag", hashlib.sha256(self.server.content).hexdigest())
        self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A server on this machine, with empty caches of torch and of the hub."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TRAP", str(tmp_path / "sprung"))
    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        hub = {"ENDPOINT": server.url, "HF_HUB_CACHE": str(tmp_path / "cache" / "hub"),
               "HUGGINGFACE_CO_URL_TEMPLATE": server.url + "/{repo_id}/resolve/{revision}/{filename}"}
        for name, value in hub.items():
            monkeypatch.setattr(huggingface_hub.constants, name, value)
        yield server
        server.shutdown()


def left(folder: Path) -> list[str]:
    """The files in a folder, without the hub's own metadata."""
    return [str(path) for path in folder.rglob("*") if path.is_file() and path.name not in ("CACHEDIR.TAG", "main")
            and path.suffix != ".lock"]


@pytest.mark.parametrize("damage, kind", [("nothing", OSError), ("half", ValueError), ("closed early", ValueError),
                                          ("a byte", ValueError)])
def test_an_image_set_that_comes_damaged_is_told_and_comes_whole_later(server, tmp_path, monkeypatch, damage, kind):
    layout, root, archive = cifar.VARIANTS["cifar10"].dataset, tmp_path / "root", tmp_path / "made.tar.gz"
    folder = write_torchvision_layout(tmp_path / "made", layout, monkeypatch)
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    server.content = archive.read_bytes()
    monkeypatch.setattr(layout, "url", f"{server.url}/{layout.filename}")
    monkeypatch.setattr(layout, "tgz_md5", hashlib.md5(server.content).hexdigest())
    server.damage = damage
    received = r"(nothing was|\d+ bytes with MD5 \w+ were) received"
    with pytest.raises(kind, match=rf"^cifar10: the download of {layout.url} failed \(.+; {received}, but the "
                                   rf"archive's MD5 is {layout.tgz_md5}\); try again, ") as told:
        cifar.download("cifar10", root)
    assert "\n" not in str(told.value) and not left(root)
    with pytest.raises(FileNotFoundError, match="cifar10: neither "):
        registry.load("cifar10", root)
    server.damage = ""
    cifar.download("cifar10", root)
    assert len(registry.load("cifar10", root, validation=0.0).train) == 4


def test_another_set_than_cifar_is_not_downloaded(tmp_path):
    with pytest.raises(ValueError, match="download: 'digits' is not supported; choose from 'cifar10', 'cifar100'"):
        cifar.download("digits", tmp_path)


@pytest.fixture
def of_torchvision(server, monkeypatch, tmp_path):
    """squeezenet1_1 as torchvision would publish it, and its path in torch's cache."""
    torch.manual_seed(1)
    net = torchvision.models.squeezenet1_1()
    torch.save(net.state_dict(), tmp_path / "w.pth")
    return net, publish(server, monkeypatch, tmp_path / "w.pth")


def publish(server, monkeypatch, file: Path) -> Path:
    server.content = file.read_bytes()
    name = f"squeezenet1_1-{hashlib.sha256(server.content).hexdigest()[:8]}.pth"

    class Published(WeightsEnum):
        IMAGENET1K_V1 = Weights(url=f"{server.url}/{name}", transforms=None, meta={})
        DEFAULT = IMAGENET1K_V1

    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda _: Published)
    return Path(torch.hub.get_dir()) / "checkpoints" / name


@pytest.mark.parametrize("damage, kind", [("nothing", FileNotFoundError), ("half", ValueError),
                                          ("closed early", ValueError), ("a byte", ValueError)])
def test_torchvisions_weights_that_come_damaged_are_told_and_come_whole_later(of_torchvision, server, tmp_path, damage,
                                                                             kind):
    net, kept = of_torchvision
    loads = {lambda: pretrained.pretrained("squeezenet1_1", tmp_path): kind,
             lambda: custom.load("torchvision:squeezenet1_1", "pretrained"): FileNotFoundError}
    for load, expected in loads.items():
        server.damage = damage
        with pytest.raises(expected, match=r"^weights: .+ squeezenet1_1|torchvision:squeezenet1_1 .+\(\w+") as error:
            load()
        assert "\n" not in str(error.value) and not left(kept.parent)
    server.damage = ""
    assert same(pretrained.pretrained("squeezenet1_1", tmp_path).net, net) and kept.is_file()
    assert same(custom.load("torchvision:squeezenet1_1", "pretrained").model, net)


@pytest.mark.parametrize("load", [lambda root: pretrained.pretrained("squeezenet1_1", root).net,
                                  lambda _: custom.load("torchvision:squeezenet1_1", "pretrained").model])
def test_weights_that_went_bad_in_the_cache_are_not_read(of_torchvision, tmp_path, load):
    net, kept = of_torchvision
    load(tmp_path)
    content = kept.read_bytes()
    kept.write_bytes(content[:len(content) // 2] + b"\0\0\0\1" + content[len(content) // 2 + 4:])
    with pytest.raises((ValueError, FileNotFoundError),
                       match=rf"{kept} had the SHA-256 \w+\.\.\. instead of .+ and was removed"):
        load(tmp_path)
    assert same(load(tmp_path), net)


@pytest.mark.parametrize("load, kind", [
    (lambda root: pretrained.pretrained("squeezenet1_1", root), ValueError),
    (lambda _: custom.load("torchvision:squeezenet1_1", "pretrained"), FileNotFoundError)])
def test_code_in_published_weights_is_not_run(of_torchvision, server, monkeypatch, tmp_path, load, kind):
    torch.save({"features": Trap()}, tmp_path / "trap.pth")
    publish(server, monkeypatch, tmp_path / "trap.pth")
    with pytest.raises(kind, match=r"^weights: .+ \(UnpicklingError: .+\); ") as error:
        load(tmp_path)
    assert "\n" not in str(error.value) and not (tmp_path / "sprung").exists()
    pickle.loads(pickle.dumps(Trap()))   # it would have
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize("hub", [True, False], ids=["of the hub", "of an address"])
@pytest.mark.parametrize("damage", ["half", "a byte"])
def test_timms_weights_that_come_damaged_are_told_and_come_whole_later(server, monkeypatch, tmp_path, hub, damage):
    torch.manual_seed(1)
    net = timm.create_model("test_resnet")
    torch.save(net.state_dict(), tmp_path / "w.pth")
    server.content = save(net.state_dict()) if hub else (tmp_path / "w.pth").read_bytes()
    if not hub:
        published = replace(timm.get_pretrained_cfg("test_resnet"), hf_hub_id=None, url=(
            f"{server.url}/test_resnet-{hashlib.sha256(server.content).hexdigest()[:8]}.pth"))
        for name in ("test_resnet", "test_resnet.r160_in1k"):
            monkeypatch.setitem(timm.models._registry._model_pretrained_cfgs, name, published)
    server.damage = damage
    with pytest.raises(FileNotFoundError, match=r"^weights: those of timm:test_resnet could not be .+\(.+\)") as error:
        custom.load("timm:test_resnet", "pretrained")
    assert "\n" not in str(error.value) and not left(tmp_path / "cache")
    server.damage = ""
    assert same(custom.load("timm:test_resnet", "pretrained").model, net)
