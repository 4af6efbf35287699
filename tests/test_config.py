"""A configuration's digest names its run: every value counts, the order and the process do not."""
import json
from dataclasses import dataclass, fields, is_dataclass, replace
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest
import torch

from posenc_lib import experiments
from posenc_lib.experiments import (
    augshift,
    gapnet_vs_permutenet,
    padding_artifacts,
    posenet_readout,
    pretrained_decoding,
    region_attack,
)
from posenc_lib.experiments.encoders import EncoderConfig
from posenc_lib.experiments.gapnet_vs_permutenet import PlacementConfig
from posenc_lib.experiments.padding_artifacts import PaddingConfig
from posenc_lib.experiments.posenet_readout import ReadoutConfig, ScratchConfig
from posenc_lib.experiments.pretrained_decoding import DecodingConfig
from posenc_lib.nets.padding import PADDING_MODES
from posenc_lib.run import config, records
from posenc_lib.run.config import PROJECT, CosineRecipe, PolyRecipe, Recipe, SgdRecipe, Workspace, describe, digest

BASE = PlacementConfig(profile="smoke", dataset="digits", data="0123456789ab")
READERS = (ReadoutConfig(profile="smoke", dataset="photos", data="0123456789ab"),
           DecodingConfig(profile="smoke", dataset="digits", data="0123456789ab"))
BASES = (BASE, PaddingConfig(profile="smoke", dataset="photos", data="0123456789ab"), EncoderConfig(), *READERS,
         augshift.AugShiftConfig(profile="smoke", dataset="digits", data="0123456789ab"))
OTHER_CHOICE = {"task": "image", "head": "permutenet", "padding_mode": "circular", "fill": "black", "net": "trained",
                "trained": "reflect", "run_with": "none", "method": "baseline"}


def changed(old, name: str):
    """The same configuration but for one field."""
    value = getattr(old, name)
    if name in OTHER_CHOICE:
        other = OTHER_CHOICE[name]
    elif isinstance(value, bool):
        other = not value
    elif isinstance(value, tuple):
        other = value[::-1]
    elif value is None:
        other = 7
    else:
        other = value + type(value)(1)   # "ab" -> "ab1", 3 -> 4, 0.5 -> 1.5
    return replace(old, **{name: other})


@pytest.mark.parametrize("base, name", [(base, f.name) for base in BASES for f in fields(base)
                                        if f.name not in ("recipe", "encoder")])
def test_the_digest_changes_with_every_field(base, name):
    assert digest(changed(base, name)) != digest(base)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("recipe, name", [(r, f.name) for r in (Recipe(), SgdRecipe(), CosineRecipe())
                                          for f in fields(r)])
def test_the_digest_changes_with_every_field_of_the_recipe(base, recipe, name):
    assert digest(replace(base, recipe=changed(recipe, name))) != digest(replace(base, recipe=recipe))


@pytest.mark.parametrize("base", READERS)
@pytest.mark.parametrize("name", [f.name for f in fields(EncoderConfig) if f.name != "recipe"])
def test_the_digest_changes_with_every_field_of_the_network_that_is_read(base, name):
    assert digest(replace(base, encoder=changed(EncoderConfig(), name))) != digest(base)


def test_the_digest_changes_with_every_field_of_a_network_from_scratch():
    base = ScratchConfig(profile="smoke", network=EncoderConfig())
    others = [changed(base, f.name) for f in fields(base) if f.name != "network"]
    others += [replace(base, network=changed(base.network, f.name)) for f in fields(base.network) if f.name != "recipe"]
    assert len({digest(c) for c in (base, *others)}) == 1 + len(others)


def test_two_kinds_of_recipe_with_equal_values_have_two_digests():
    values = {f.name: getattr(SgdRecipe(), f.name) for f in fields(Recipe)}
    assert digest(replace(BASE, recipe=Recipe(**values))) != digest(replace(BASE, recipe=SgdRecipe()))


def test_the_digest_does_not_depend_on_the_order_of_fields():
    description = describe(BASE)
    assert digest(dict(reversed(description.items()))) == digest(BASE)


def test_the_digest_survives_a_file_of_json():
    assert digest(json.loads(json.dumps(describe(BASE)))) == digest(BASE)   # tuples come back as lists


def test_two_experiments_with_equal_fields_have_two_digests():
    @dataclass(frozen=True)
    class A:
        grid: int = 3

    @dataclass(frozen=True)
    class B:
        grid: int = 3

    assert digest(A()) != digest(B())


def test_a_configuration_with_nan_has_no_digest():
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest(replace(BASE, recipe=Recipe(learning_rate=float("nan"))))


@pytest.mark.parametrize("field, choices", [("task", "'location', 'image'"), ("head", "'gapnet', 'permutenet'"),
                                            ("fill", "'mean', 'black'"),
                                            ("padding_mode", ", ".join(map(repr, PADDING_MODES)))])
def test_an_unknown_value_is_answered_with_the_choices(field, choices):
    with pytest.raises(ValueError) as error:
        replace(BASE, **{field: "diagonal"})
    assert str(error.value) == f"{field}: 'diagonal' is not supported; choose from {choices}"


@pytest.mark.parametrize("field", ["padding_mode", "run_with"])
def test_a_network_to_read_from_may_also_be_without_padding(field):
    assert getattr(EncoderConfig(**{field: "none"}), field) == "none"
    with pytest.raises(ValueError, match=f"{field}: 'valid' is not supported; choose from 'zeros', 'reflect'"):
        EncoderConfig(**{field: "valid"})


def test_every_profile_says_what_it_changes():
    for changes in (
        gapnet_vs_permutenet.PLACEMENT,
        padding_artifacts.PADDING,
        posenet_readout.READOUT,
        pretrained_decoding.DECODING,
        augshift.PRESETS,
        config.SEEDS,
    ):
        assert set(changes) == set(config.PROFILES)


@pytest.mark.parametrize("requested, gpu, device", [("", False, "cpu"), ("", True, "cuda"), ("cpu", True, "cpu"),
                                                    ("cuda", True, "cuda"), ("cpu", False, "cpu")])
def test_a_gpu_is_used_unless_the_environment_says_no(monkeypatch, requested, gpu, device):
    monkeypatch.setenv("POSENC_DEVICE", requested)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert config.device_type() == Workspace("smoke").device.type == device


@pytest.mark.parametrize("requested, sentence", [
    ("cuda", "POSENC_DEVICE: cuda was requested, but torch finds no GPU; "),
    ("tpu", "POSENC_DEVICE: 'tpu' is not supported; choose from '', 'cpu'")])
def test_a_device_that_is_not_there_is_refused(monkeypatch, requested, sentence):
    monkeypatch.setenv("POSENC_DEVICE", requested)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=f"^{sentence}"):
        config.device_type()


def test_a_workspace_refuses_an_unknown_profile():
    with pytest.raises(ValueError, match="profile: 'fast' is not supported; choose from 'smoke', 'quick', 'paper'"):
        Workspace("fast")


def test_where_a_workspace_looks_for_data(monkeypatch):
    monkeypatch.delenv("POSENC_DATA", raising=False)
    assert Workspace().data == PROJECT / "data"
    monkeypatch.setenv("POSENC_DATA", "/from/environment")
    assert Workspace().data == Path("/from/environment")
    assert Workspace(data_root="~/mine").data == Path.home() / "mine"


def test_where_a_workspace_writes(tmp_path):
    workspace = Workspace("smoke", out=str(tmp_path))
    assert workspace.records("a-claim") == tmp_path / "records" / "smoke" / "a-claim.jsonl"
    assert workspace.figures == tmp_path / "figures" / "smoke"
    assert workspace.checkpoint(BASE, 3) == tmp_path / "build" / "checkpoints" / f"{digest(BASE)}-3.pt"
    assert Workspace().root == PROJECT


def test_reference_runs_are_the_projects_own_whatever_the_folder(tmp_path):
    assert Workspace("smoke", out=str(tmp_path)).records("c", "paper") == PROJECT / "records" / "paper" / "c.jsonl"


def test_merging_all_cells_into_as_many_is_the_same_experiment():
    assert replace(BASE, classes=9) == BASE and digest(replace(BASE, classes=9)) == digest(BASE)
    assert replace(BASE, classes=3) != BASE != replace(BASE, task="image", classes=9)


RECORDED = [record for kind in ("cpu", "paper") for record in records.load(PROJECT / "records" / kind)]
CONFIGS = {
    name: value
    for module in iter_modules(experiments.__path__)
    for name, value in vars(import_module(f"{experiments.__name__}.{module.name}")).items()
    if is_dataclass(value)
}


@pytest.mark.parametrize("name", sorted({record.config["class"] for record in RECORDED}))
def test_committed_records_have_the_fields_of_their_configuration(name):
    """A field that is renamed without migrating the records would make each of these runs be computed again."""
    wanted = {"class", *(field.name for field in fields(CONFIGS[name]))}
    assert all(set(record.config) == wanted for record in RECORDED if record.config["class"] == name)


@pytest.mark.parametrize("warmup, rates", [
    (0, [0.4, 0.34142135, 0.2, 0.05857864]),          # 0.2 (1 + cos of 0, 45, 90 and 135 degrees)
    (3, [0.1, 0.2, 0.3, 0.4, 0.34142135, 0.2, 0.05857864]),
])
def test_a_cosine_recipe_rises_then_falls_to_0(warmup, rates):
    recipe = CosineRecipe(epochs=4 + warmup, warmup=warmup, learning_rate=0.4)
    assert [recipe.rate(epoch) for epoch in range(recipe.epochs)] == pytest.approx(rates)
    assert recipe.rate(recipe.epochs) == 0


@pytest.mark.parametrize("warmup", [0, 5])
def test_a_cosine_recipes_rate_has_one_peak_and_never_stands_still(warmup):
    recipe = CosineRecipe(warmup=warmup)
    rates = [recipe.rate(epoch) for epoch in range(recipe.epochs)]
    assert rates[warmup] == max(rates) == recipe.learning_rate and min(rates) > 0
    assert rates[:warmup + 1] == sorted(set(rates[:warmup + 1]))
    assert rates[warmup:] == sorted(set(rates[warmup:]), reverse=True)


@pytest.mark.parametrize("recipe", [SgdRecipe(momentum=0.8, weight_decay=1e-3), CosineRecipe(learning_rate=0.2)])
def test_the_optimizer_has_what_its_recipe_says(recipe):
    optimizer = recipe.optimizer([torch.nn.Parameter(torch.zeros(1))])
    group, = optimizer.param_groups
    assert type(optimizer) is torch.optim.SGD
    assert all(group[key] == value for key, value in (("lr", recipe.learning_rate), ("momentum", recipe.momentum),
                                                      ("weight_decay", recipe.weight_decay)))


SEGMENTER = region_attack.SegmenterConfig(profile="smoke", dataset="streets", data="0123456789ab")


@pytest.mark.parametrize("name", [f.name for f in fields(SEGMENTER) if f.name != "recipe"])
def test_the_digest_changes_with_every_field_of_a_segmenter(name):
    others = {"layer": "layer3", "head": 128, "crop": (64, 64)}
    other = replace(SEGMENTER, **{name: others[name]}) if name in others else changed(SEGMENTER, name)
    assert digest(other) != digest(SEGMENTER)


@pytest.mark.parametrize("name", [f.name for f in fields(PolyRecipe)])
def test_the_digest_changes_with_every_field_of_a_segmenters_recipe(name):
    assert digest(replace(SEGMENTER, recipe=changed(PolyRecipe(), name))) != digest(SEGMENTER)


@pytest.mark.parametrize("recipe, fields, known", [
    (Recipe, "epochs epoch_steps batch_size learning_rate betas flip", "ffd30540d8ed"),
    (SgdRecipe, "epochs epoch_steps batch_size learning_rate betas flip momentum weight_decay drop", "b1aa425fb8aa"),
    (CosineRecipe, "epochs epoch_steps batch_size learning_rate betas flip momentum weight_decay warmup",
     "b6a97b7d4f3a")])
def test_recipes_keep_their_fields_and_digests(recipe, fields, known):
    assert list(describe(recipe())) == ["class", *fields.split()]
    assert digest(recipe()) == known


def test_a_poly_recipe_falls_and_is_above_0_to_the_last():
    recipe = PolyRecipe(epochs=4, learning_rate=0.4)
    rates = [0.4, 0.3087558, 0.21435469, 0.11486984]   # 0.4 times 1, 3/4, 1/2 and 1/4 to the power 0.9
    assert [recipe.rate(epoch) for epoch in range(4)] == pytest.approx(rates)
    assert replace(recipe, power=2.0).rate(1) == pytest.approx(0.225)
    long = PolyRecipe()
    rates = [long.rate(epoch) for epoch in range(long.epochs)]
    assert rates[0] == long.learning_rate and rates[-1] > 0 == long.rate(long.epochs)
    assert rates == sorted(set(rates), reverse=True)


class WithBackbone(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(3, 2)
        self.backbone = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
        self.last = torch.nn.Linear(2, 2)


@pytest.mark.parametrize("scale", [0.1, 1.0])
def test_a_poly_recipe_gives_the_backbone_its_own_scale_and_forgets_no_parameter(scale):
    model = WithBackbone()
    groups = PolyRecipe(backbone_scale=scale).groups(model)
    in_backbone = {id(p) for p in model.backbone.parameters()}
    given = [(id(p), group["scale"]) for group in groups for p in group["params"]]
    assert sorted(number for number, _ in given) == sorted(id(p) for p in model.parameters())   # each exactly once
    assert all(s == (scale if number in in_backbone else 1.0) for number, s in given)


@pytest.mark.parametrize("recipe", [Recipe(), SgdRecipe(), CosineRecipe()], ids=lambda recipe: type(recipe).__name__)
def test_the_other_recipes_have_one_group_of_scale_1(recipe):
    model = WithBackbone()
    group, = recipe.groups(model)
    assert group["scale"] == 1.0
    assert list(map(id, group["params"])) == list(map(id, model.parameters()))


@pytest.mark.parametrize("adamw, kind", [(False, torch.optim.SGD), (True, torch.optim.AdamW)])
def test_a_poly_recipe_chooses_between_two_optimizers_of_the_same_decay(adamw, kind):
    recipe = PolyRecipe(adamw=adamw, learning_rate=0.3, weight_decay=0.02)
    optimizer = recipe.optimizer(recipe.groups(WithBackbone()))
    assert type(optimizer) is kind and len(optimizer.param_groups) == 2
    assert all((group["lr"], group["weight_decay"]) == (0.3, 0.02) for group in optimizer.param_groups)
    assert adamw or all(group["momentum"] == 0.9 for group in optimizer.param_groups)
