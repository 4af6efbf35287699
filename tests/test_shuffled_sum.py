"""What a linear head reads of shuffled channels, a toy of it, and readers of z."""
from dataclasses import replace
from itertools import permutations

import pytest
import torch

from posenc_lib.data import registry
from posenc_lib.experiments import gapnet_vs_permutenet, shuffled_sum
from posenc_lib.run.config import Workspace, describe, digest
from posenc_lib.run.records import Record

CPU = torch.device("cpu")
SPLITS = registry.load("digits", "", validation=0.0)


def test_over_all_permutations_a_head_sees_the_sum_and_noise_of_the_stated_size():
    weight, z = torch.randn(3, 5), torch.randn(2, 5)
    logits = torch.stack([z[:, list(order)] @ weight.T for order in permutations(range(5))])   # (permutation, 2, 3)
    torch.testing.assert_close(logits.mean(0), z.sum(1, keepdim=True) * weight.mean(1))
    torch.testing.assert_close(logits.std(0, correction=0), shuffled_sum.permutation_noise(weight, z))
    constant = torch.ones(3, 5) * torch.arange(3.0)[:, None]
    assert not shuffled_sum.permutation_noise(constant, z).any()


def test_accuracy_by_label_leaves_out_labels_without_a_canvas():
    correct, label = torch.tensor([True, False, True, True]), torch.tensor([0, 0, 2, 2])
    assert shuffled_sum.accuracy_by_label(correct, label, 4) == [0.5, None, 1.0, None]


@pytest.mark.parametrize("schedule", shuffled_sum.SCHEDULES)
def test_both_tasks_have_nine_answers_shuffled_and_in_order(schedule):
    """But at the paper's scale, where image class has its ten, as in Table 1."""
    configs = shuffled_sum.configs(schedule, SPLITS.fingerprint)
    assert len({digest(c) for c in configs}) == 4
    images = "cifar10" if schedule == "paper" else "digits"
    assert {(c.placement.task, c.placement.classes, c.placement.dataset) for c in configs} == {
        ("location", None, images), ("image", None if schedule == "paper" else 9, images)}
    assert {(c.placement.task, c.placement.permutation) for c in configs} == {
        (task, permutation) for task in ("location", "image") for permutation in ("batch", "none")}
    assert len({digest(c) for c in shuffled_sum.toy_configs(schedule)}) == (1 if schedule == "smoke" else
                                                                           3 if schedule == "quick" else 9)


@pytest.mark.parametrize("n", range(4))
def test_a_run_is_a_function_of_its_configuration_and_seed(n):
    c = shuffled_sum.configs("smoke", SPLITS.fingerprint)[n]
    torch.manual_seed(n)
    results = shuffled_sum.run(c, 0, splits=SPLITS, device=CPU)
    torch.manual_seed(n + 1)
    assert shuffled_sum.run(c, 0, splits=SPLITS, device=CPU) == results
    assert len(results["sums"]) == len(results["lines"]) == len(results["by_epoch"][-1]["by_label"]) == 9
    assert all(deciles == sorted(deciles) for deciles in results["sums"] if deciles)
    assert [epoch["epoch"] for epoch in results["by_epoch"]] == [1, 2] and results["noise"] > 0
    assert len(results["readers"]) == 8 and all(0 <= row["accuracy"] <= 1 for row in results["readers"])


def test_a_followed_network_counts_in_table_1_as_what_it_is():
    c = shuffled_sum.configs("paper", "b4c4")[0]
    results = {"accuracy": 0.7, "lines": [[1, 0]] * 9, "noise": 1.0, "readers": [],
               "by_epoch": [{"epoch": n, "loss": 1.0, "accuracy": n / 10, "by_label": []} for n in (1, 6, 5)]}
    run = shuffled_sum.as_placement(Record("shuffled_sum", digest(c), 3, describe(c), results))
    assert (run.digest, run.seed) == (digest(c.placement), 3)
    assert run.results["best_test_epoch"] == 0.6 and run.results["chance"] == 1 / 9
    assert run.results["by_epoch"][1] == {"epoch": 6, "loss": 1.0, "accuracy_one_cell": 0.6}
    frame = gapnet_vs_permutenet.frame([run])
    assert gapnet_vs_permutenet.table1(frame)["accuracy"].tolist() == [70]


def test_the_toy_holds_every_answer_without_noise_and_few_with_much():
    few = shuffled_sum.ToyConfig(9, 0.01, steps=600)
    quiet, loud = (shuffled_sum.run_toy(replace(few, noise=noise), 0)["curve"] for noise in (0.01, 30.0))
    assert [point["step"] for point in quiet] == list(range(30, 601, 30))
    assert quiet[0]["accuracy"] < 0.9 < 0.99 < quiet[-1]["accuracy"] and loud[-1]["accuracy"] < 0.5
    assert shuffled_sum.run_toy(few, 0) == {"curve": quiet} != shuffled_sum.run_toy(few, 1)


def accuracies(z, label, z_test, label_test):
    rows = shuffled_sum.read(z, label, z_test, label_test, seed=0)
    return {(row["view"], row["reader"]): row["accuracy"] for row in rows}


def test_what_is_only_in_the_order_of_channels_is_read_in_order_only():
    """The label is which of four channels is 1, so that sorted values, sum and norm are always the same."""
    label = torch.arange(400) % 4
    z = torch.eye(4)[label] + 1e-3 * torch.randn(400, 4, generator=torch.Generator().manual_seed(0))
    read = accuracies(z[:300], label[:300], z[300:], label[300:])
    assert read["in_order", "linear"] == read["in_order", "mlp"] == 1
    assert all(accuracy < 0.5 for (view, _), accuracy in read.items() if view != "in_order")


def test_what_is_in_the_sum_is_read_from_every_view():
    label = torch.arange(400) % 4
    z = label[:, None] + 0.1 * torch.randn(400, 4, generator=torch.Generator().manual_seed(0))
    assert min(accuracies(z[:300], label[:300], z[300:], label[300:]).values()) > 0.9


def test_at_the_papers_scale_every_network_on_file_counts_once():
    runs = shuffled_sum.at_scale(Workspace("smoke"))
    assert len({run.key for run in runs}) == len(runs) > 10
    assert {run.experiment for run in runs} == {"gapnet_vs_permutenet"}
    assert {run.config["class"] for run in runs} == {"PlacementConfig"}
