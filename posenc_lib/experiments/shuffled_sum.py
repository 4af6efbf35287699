"""What PermuteNet's head can use: one number.  How it uses that number, and what other heads can decode from z.

Under a permutation of the channels drawn anew for every batch, the linear head sees, on average over permutations,

    E[W z_pi + b]_k = m_k sum(z) + b_k,        m_k = mean over c of W_kc,

and everything else in W z_pi is noise.  So a network has to give every class a separate level on the axis sum(z),
and the head is a set of lines over that axis.  Source: ICCV 2021, Sec. 3 and Table 1; the analysis is this book's.
"""
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from posenc_lib.base.draws import Draws, drawing
from posenc_lib.base.shapes import Labels, Latents
from posenc_lib.data.imageset import ImageSet, Splits
from posenc_lib.experiments.gapnet_vs_permutenet import CanvasTask, Evaluation, PlacementConfig, build, labelled
from posenc_lib.run import streams, training
from posenc_lib.run.config import Recipe, Workspace, digest
from posenc_lib.run.records import Record, load

# Schedules of the networks trained here.  "long" is the committed CPU run: some ten minutes for each on one core.
# "paper" is Table 1's protocol, on CIFAR-10.
SCHEDULES = {
    "smoke": {"width": 2, "test_images": 12, "recipe": Recipe(epochs=2, epoch_steps=1, batch_size=4, flip=False)},
    "quick": {"width": 4, "test_images": 40,
              "recipe": Recipe(epochs=4, epoch_steps=25, batch_size=12, learning_rate=4e-3, flip=False)},
    "long": {"width": 16, "test_images": 500,
             "recipe": Recipe(epochs=10, epoch_steps=400, batch_size=48, flip=False)},
    "paper": {},
}
READ_ITERATIONS = {"smoke": 10, "quick": 500, "long": 2000, "paper": 2000}   # at most, of the readers' solvers
READ_IMAGES = 300                                      # training images whose latents they learn from, in every cell
DECILES = torch.arange(11) / 10


@dataclass(frozen=True)
class SumConfig:
    """A network that is followed while it learns, and whose latents are then read in several ways.

    placement   the network, its task and its schedule; its head is PermuteNet's
    read_iterations   at most, of the readers' solvers
    revision    raised by hand whenever a change alters this experiment's numbers
    """
    placement: PlacementConfig
    read_iterations: int
    revision: int = 1


def configs(schedule: str, data: str) -> list[SumConfig]:
    """Both tasks at 3x3 under zero padding, the channels shuffled anew for every batch or in order.

    On digits both tasks have nine answers; on CIFAR-10 image class has its ten, as in Table 1.
    schedule  a key of `SCHEDULES`; "paper" trains on CIFAR-10, the others on digits
    data      fingerprint of the image set
    """
    dataset, classes = ("cifar10", None) if schedule == "paper" else ("digits", 9)

    def followed(task: str, permutation: str) -> SumConfig:
        preset = SCHEDULES[schedule]
        if permutation == "none" and schedule == "long":   # has learned its task by then
            preset = {**preset, "recipe": replace(preset["recipe"], epochs=3)}
        placement = PlacementConfig(profile=schedule, dataset=dataset, data=data, task=task, classes=classes,
                                    head="permutenet", permutation=permutation, **preset)
        return SumConfig(placement, READ_ITERATIONS[schedule])

    return [followed(task, permutation) for permutation in ("batch", "none") for task in ("location", "image")]


def accuracy_by_label(correct: Bool[Tensor, " canvas"], label: Int[Tensor, " canvas"], n: int) -> list[float | None]:
    """Accuracy of the canvases of each label, 0..1, three decimals; None for a label without a canvas."""
    parts = (correct[label == k].double() for k in range(n))
    return [round(part.mean().item(), 3) if len(part) else None for part in parts]


def run(c: SumConfig, seed: int, checkpoint: training.Checkpoint | Path | None = None, *, splits: Splits,
        device: torch.device) -> dict:
    """Train one network.  -> results of the record

    accuracy   after the last epoch, every test image in every cell, 0..1
    by_epoch   after each epoch: loss, accuracy and by_label, the accuracy for each label (each test image in one random
               cell)
    sums       of each label: the deciles of sum(z) over canvases, 0 to 1; None for a label without a canvas
    lines      of each label: slope m_k and intercept b_k of the head's line over sum(z)
    noise      standard deviation over permutations of a logit, mean over labels and test canvases
    readers    rows of `read`
    """
    torch.manual_seed(seed)
    placement = c.placement
    net, task = build(placement, splits.train).to(device), CanvasTask(placement, splits.train, device)
    train, test = (labelled(placement, images) for images in (splits.train, splits.test.take(
        slice(placement.test_images))))
    linear = next(layer for layer in net.head if isinstance(layer, nn.Linear))

    def labels(images: ImageSet, after: Evaluation) -> Labels:
        if placement.task == "location":
            return after.location // task.group
        return images.labels.to(after.number.device)[after.number] // task.group

    def follow(net: nn.Module) -> dict:
        after = task.evaluate(net, test, all_cells=False)
        return {"accuracy": after.correct.double().mean().item(),
                "by_label": accuracy_by_label(after.correct, labels(test, after), linear.out_features)}

    history = training.fit(net, train, task.loss, placement.recipe, seed=seed, checkpoint=checkpoint, evaluate=follow)
    learned_from = train.subsample(READ_IMAGES)
    with drawing(net, Draws(device, seed)), training.autocast(device):
        before, after = task.evaluate(net, learned_from), task.evaluate(net, test)
    label, total = labels(test, after), after.z.sum(1)
    sums = [total[label == k].quantile(DECILES.to(total)).tolist() if (label == k).any() else None
            for k in range(linear.out_features)]
    weight = linear.weight.detach()
    noise, learned = permutation_noise(weight, after.z).mean().item(), labels(learned_from, before)
    with streams.yield_turn():   # a minute on a CPU, in which the GPU can train other networks
        readers = read(before.z, learned, after.z, label, seed=seed, iterations=c.read_iterations)
    return {"accuracy": after.correct.double().mean().item(), "sums": sums,
            "by_epoch": [{"epoch": n, **h} for n, h in enumerate(history, start=1)],
            "lines": torch.stack([weight.mean(1), linear.bias.detach()], 1).tolist(), "noise": noise,
            "readers": readers}


def as_placement(run: Record) -> Record:
    """The same network as a run of page 03's Table 1: its accuracies, without place fields."""
    of_all, config = run.results["accuracy"], {"class": "PlacementConfig", **run.config["placement"]}
    by_epoch = [{"epoch": e["epoch"], "loss": e["loss"], "accuracy_one_cell": e["accuracy"]}
                for e in run.results["by_epoch"]]
    results = {"accuracy": of_all, "best_test_epoch": max(e["accuracy_one_cell"] for e in by_epoch),
               "by_epoch": by_epoch, "chance": 1 / len(run.results["lines"])}
    return Record("gapnet_vs_permutenet", digest(config), run.seed, config, results, run.source)


def at_scale(workspace: Workspace) -> list[Record]:
    """The committed runs of Table 1 at the paper's scale: page 03's own, then the networks followed here."""
    table1, followed = (load(workspace.records(name, "paper")) for name in ("gapnet_vs_permutenet", "shuffled_sum"))
    return [*table1, *map(as_placement, followed)]


def permutation_noise(weight: Float[Tensor, "label channel"], z: Latents) -> Float[Tensor, "batch label"]:
    """Standard deviation of (W z_pi)_k over all permutations pi.

    For a random permutation of n values, Var(w . z_pi) = n^2 / (n - 1) Var(w) Var(z), with variances over the n
    channels: the part of a row that is not constant meets the part of z that is not.
    """
    n = z.shape[1]
    variance = weight.var(1, correction=0) * z.var(1, correction=0)[:, None]
    return (n ** 2 / (n - 1) * variance).sqrt()


# A toy: the same problem without a network.

TOYS = {"smoke": {"answers": (9,), "noise": (1.0,), "steps": 40}, "quick": {"noise": (1.0,), "steps": 800}}   # else all


@dataclass(frozen=True)
class ToyConfig:
    """A linear head that has to distinguish classes (`answers`) by one number.

    noise  standard deviation of that number around the level of its answer
    """
    answers: int
    noise: float
    steps: int = 4000
    learning_rate: float = 0.02
    batch: int = 16    # draws of each class in a step
    revision: int = 1


def toy_configs(schedule: str) -> list[ToyConfig]:
    """As many classes (`answers`) as a canvas has cells, at several levels of noise."""
    preset = {"answers": (9, 25, 49), "noise": (0.1, 0.3, 1.0), "steps": 4000, **TOYS.get(schedule, {})}
    return [ToyConfig(answers, noise, preset["steps"]) for noise in preset["noise"] for answers in preset["answers"]]


def run_toy(c: ToyConfig, seed: int, checkpoint: object = None) -> dict:
    """Learn a level s_k for each class and the lines of a head over it, by Adam on the cross-entropy.

        logits = m (s_k + noise * epsilon) + b,        epsilon standard normal

    checkpoint  unused: a run takes seconds
    -> curve: step and accuracy (0..1, of the last 20 steps), at 20 times.  Levels start close together, as the sums of
    a random network's channels do.
    """
    draw = torch.Generator().manual_seed(seed)
    levels, slope, intercept = (nn.Parameter(0.1 * torch.randn(c.answers, generator=draw)) for _ in range(3))
    optimizer = torch.optim.Adam([levels, slope, intercept], lr=c.learning_rate)
    label, hits, curve = torch.arange(c.answers).repeat_interleave(c.batch), [], []
    for step in range(1, c.steps + 1):
        number = levels[label] + c.noise * torch.randn(len(label), generator=draw)
        logits = number[:, None] * slope + intercept
        optimizer.zero_grad()
        cross_entropy(logits, label).backward()
        optimizer.step()
        hits.append((logits.argmax(1) == label).double().mean())
        if step % (c.steps // 20) == 0:
            curve.append({"step": step, "accuracy": round(torch.stack(hits[-20:]).mean().item(), 4)})
    return {"curve": curve}


# Readers of z.

def sum_only(z: Latents) -> Float[Tensor, "batch 1"]:
    return z.sum(1, keepdim=True)


def sum_and_norm(z: Latents) -> Float[Tensor, "batch 2"]:
    return torch.stack([z.sum(1), z.norm(dim=1)], 1)


def sorted_values(z: Latents) -> Latents:
    return z.sort(1).values


VIEWS = {"in_order": lambda z: z, "sorted": sorted_values, "sum_and_norm": sum_and_norm, "sum": sum_only}


def read(z: Latents, label: Labels, z_test: Float[Tensor, "tested channel"], label_test: Int[Tensor, " tested"], *,
         seed: int, iterations: int = 2000) -> list[dict]:
    """Fit a linear reader and a small MLP to each view of z, test them on other canvases.

    The linear reader is a logistic regression, fitted to convergence: trained by steps of a gradient, a linear head on
    one number takes thousands of them, which is this section's subject and not a property of z.
    -> view, reader, accuracy (0..1).  What a view drops, such as the order of the channels, no reader can use.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    rows = []
    for view, of in VIEWS.items():
        x, x_test = (of(part.float()).cpu().numpy() for part in (z, z_test))
        for name, reader in (("linear", LogisticRegression(C=1e4, max_iter=iterations)),
                             ("mlp", MLPClassifier((64,), max_iter=iterations // 10, random_state=seed))):
            fitted = make_pipeline(StandardScaler(), reader).fit(x, label.cpu().numpy())
            accuracy = float(fitted.score(x_test, label_test.cpu().numpy()))
            rows.append({"view": view, "reader": name, "accuracy": accuracy})
    return rows
