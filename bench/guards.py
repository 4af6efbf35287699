"""Each guard against a fault taken out of a copy of the book: the test that is there for it has to fail.

    ./run_all.sh bench guards [WORD ...]

WORD  only guards whose description has one of these words

First the tests are run on the copy as it is, where all have to pass; then once for every guard, without it.  Exit
code 1 if a test fails with all guards in, or passes without its guard.  Needs root, to mount a small disk.
"""
import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Guard(NamedTuple):
    against: str
    file: str
    guard: str     # source that stands there once
    without: str
    test: str      # in tests/


GUARDS = [
    Guard(
        "a line of records torn by a kill",
        "posenc_lib/run/records.py",
        "            _set_torn_aside(path, file)\n",
        "",
        "test_faults_disk.py::test_a_torn_line_stays_where_it_is_if_it_cannot_be_set_aside",
    ),
    Guard(
        "half a record on a full disk",
        "posenc_lib/run/records.py",
        "        file.truncate(before)\n",
        "",
        "test_faults_disk.py::test_a_record_that_does_not_fit_on_the_disk_leaves_the_file_as_it_was",
    ),
    Guard(
        "half a record over a quota",
        "posenc_lib/run/records.py",
        "        while line:\n            line = line[",
        "        if True:\n            line[",
        "test_faults_disk.py::test_a_record_over_the_quota_leaves_the_file_as_it_was",
    ),
    Guard(
        "two processes that write records at once",
        "posenc_lib/run/records.py",
        'with FileLock(f"{path}.lock"), open(',
        "with open(",
        "test_records.py::test_a_writer_waits_for_the_one_that_holds_the_file",
    ),
    Guard(
        "two records of one run",
        "posenc_lib/run/records.py",
        "records.setdefault(record.key, record)",
        "records[record.key] = record",
        "test_records.py::test_of_two_records_of_one_run_the_first_counts",
    ),
    Guard(
        "a configuration changed by damage",
        "posenc_lib/run/records.py",
        'if values["digest"] != digest(values["config"]):',
        "if False:",
        "test_faults_files.py::test_a_thousand_damaged_files_are_read_rightly_or_told",
    ),
    Guard(
        "a key that comes twice in a record",
        "posenc_lib/run/records.py",
        ", object_pairs_hook=_once",
        "",
        "test_faults_files.py::test_what_json_would_let_pass_is_told",
    ),
    Guard(
        "nan and infinity in a file of records",
        "posenc_lib/run/records.py",
        "        json.dumps(values, allow_nan=False)   # json",
        "        # json",
        "test_faults_files.py::test_a_thousand_damaged_files_are_read_rightly_or_told",
    ),
    Guard(
        "a bottomless list in a record",
        "posenc_lib/run/records.py",
        "(ValueError, RecursionError)",
        "ValueError",
        "test_faults_files.py::test_a_thousand_damaged_files_are_read_rightly_or_told",
    ),
    Guard(
        "a kill between a record and the end of its checkpoint",
        "posenc_lib/run/records.py",
        "        base_files.discard(workspace.checkpoint(wanted[name, seed], seed))\n",
        "        pass\n",
        "test_faults.py::test_thirty_kills_lose_double_and_tear_nothing",
    ),
    Guard(
        "a run that is done twice after a kill",
        "posenc_lib/run/records.py",
        "if (name, seed) not in on_file]",
        "]",
        "test_faults.py::test_thirty_kills_lose_double_and_tear_nothing",
    ),
    Guard(
        "a kill while a checkpoint is written",
        "posenc_lib/base/files.py",
        'with open(partial, "wb")',
        'with open(path, "wb")',
        "test_faults.py::test_thirty_kills_lose_double_and_tear_nothing",
    ),
    Guard(
        "a checkpoint without the optimizer's state",
        "posenc_lib/run/training.py",
        "        optimizer.load_state_dict({",
        "        dict({",
        "test_faults.py::test_thirty_kills_lose_double_and_tear_nothing",
    ),
    Guard(
        "a checkpoint that nobody goes on from",
        "posenc_lib/run/training.py",
        "if path is None or not path.is_file():",
        "if True:",
        "test_faults.py::test_thirty_kills_lose_double_and_tear_nothing",
    ),
    Guard(
        "an epoch whose randomness is another after a kill",
        "posenc_lib/run/training.py",
        "            draws.restart(start)\n            layers.restart(start)\n",
        "            if epoch == 0:\n                draws.restart(start), layers.restart(start)\n",
        "test_training.py::test_a_run_that_was_stopped_ends_as_if_it_had_not_been",
    ),
    Guard(
        "a second run of one seed that differs",
        "posenc_lib/run/training.py",
        "            draws.restart(start)\n            layers",
        "            draws.generator.seed()\n            layers",
        "test_training.py::test_one_seed_gives_one_run_and_another_seed_another",
    ),
    Guard(
        "two writers of one checkpoint",
        "posenc_lib/base/files.py",
        "{uuid4().hex}",
        "one",
        "test_faults.py::test_two_processes_that_write_one_checkpoint_leave_one_of_both",
    ),
    Guard(
        "what killed writers leave behind",
        "posenc_lib/base/files.py",
        "        partial.unlink(missing_ok=True)\n",
        "        pass\n",
        "test_faults.py::test_what_killed_writers_left_goes_and_nothing_else",
    ),
    Guard(
        "a checkpoint that does not fit on the disk",
        "posenc_lib/base/files.py",
        'with open(partial, "wb")',
        'with open(path, "wb")',
        "test_faults_disk.py::test_a_checkpoint_that_does_not_fit_leaves_the_old_one_whole",
    ),
    Guard(
        "changed bytes in a checkpoint",
        "posenc_lib/base/files.py",
        "if damaged := parts.testzip():",
        "if damaged := None:",
        "test_faults_files.py::test_a_damaged_checkpoint_gives_the_same_run_or_one_sentence",
    ),
    Guard(
        "code in a checkpoint",
        "posenc_lib/base/files.py",
        "weights_only=True)",
        "weights_only=False)",
        "test_training.py::test_a_checkpoint_that_cannot_be_read_is_told_in_one_sentence",
    ),
    Guard(
        "a loss that is no number",
        "posenc_lib/run/training.py",
        "and not torch.isfinite(total)",
        "and False",
        "test_faults.py::test_a_loss_that_is_no_number_keeps_the_runs_before_it_and_names_its_own",
    ),
    Guard(
        "an archive that came damaged and stays",
        "posenc_lib/data/cifar.py",
        "                archive.unlink()\n",
        "                pass\n",
        "test_faults_downloads.py::test_an_image_set_that_comes_damaged_is_told_and_comes_whole_later",
    ),
    Guard(
        "torchvision's weights damaged on the way",
        "posenc_lib/nets/pretrained.py",
        "check_hash=True",
        "check_hash=False",
        "test_faults_downloads.py::test_torchvisions_weights_that_come_damaged_are_told_and_come_whole_later",
    ),
    Guard(
        "torchvision's weights damaged in the cache",
        "posenc_lib/nets/pretrained.py",
        "    refuse_damaged(*cached_download(weights.url))\n",
        "",
        "test_faults_downloads.py::test_weights_that_went_bad_in_the_cache_are_not_read",
    ),
    Guard(
        "timm's weights damaged on the way",
        "posenc_lib/nets/custom.py",
        "pretrained.refuse_damaged(file, sha256)",
        "pass",
        "test_faults_downloads.py::test_timms_weights_that_come_damaged_are_told_and_come_whole_later",
    ),
    Guard(
        "code in published weights",
        "posenc_lib/nets/pretrained.py",
        "weights_only=True",
        "weights_only=False",
        "test_faults_downloads.py::test_code_in_published_weights_is_not_run",
    ),
    Guard(
        "a worker that dies",
        "posenc_lib/run/cluster.py",
        "if tries[n] == 1:",
        "if False:",
        "test_cluster.py::test_a_worker_that_dies_costs_one_run_which_is_done_again",
    ),
    Guard(
        "a run that fails again and again",
        "posenc_lib/run/cluster.py",
        "if tries[n] == 1:",
        "if tries[n] < 5:",
        "test_cluster.py::test_runs_that_fail_twice_are_told_with_their_configuration_and_the_rest_is_done",
    ),
    Guard(
        "failed runs that nobody tells",
        "posenc_lib/run/cluster.py",
        "    if failed:\n",
        "    if False:\n",
        "test_cluster.py::test_runs_that_fail_twice_are_told_with_their_configuration_and_the_rest_is_done",
    ),
    Guard(
        "a second death within 15 seconds",
        "posenc_lib/run/cluster.py",
        '        "distributed.deploy.lost-worker-timeout": "1000 days",\n',
        "",
        "test_cluster.py::test_a_worker_may_die_while_dask_still_looks_for_the_one_before",
    ),
    Guard(
        "workers that go on when nobody listens",
        "posenc_lib/run/cluster.py",
        '                client.run(os._exit, 1, workers=list(running), on_error="ignore")\n',
        "                pass\n",
        "test_cluster.py::test_who_stops_early_stops_the_workers_too",
    ),
    Guard(
        "workers with another version of the library",
        "posenc_lib/run/cluster.py",
        "if library() != version:",
        "if False:",
        "test_cluster.py::test_workers_of_another_version_of_the_library_are_refused",
    ),
    Guard(
        "workers that share one GPU and leave the other",
        "posenc_lib/run/cluster.py",
        '"env": {**HEADLESS, **gpu}',
        '"env": HEADLESS',
        "test_cluster.py::test_each_worker_has_one_run_at_a_time_and_a_gpu_of_its_own",
    ),
    Guard(
        "workers that each take all threads",
        "posenc_lib/run/cluster.py",
        "dict.fromkeys(THREADS, threads)",
        "{}",
        "test_cluster.py::test_each_worker_has_one_run_at_a_time_and_a_gpu_of_its_own",
    ),
    Guard(
        "a Ctrl-C that Slurm's library takes away",
        "posenc_lib/run/cluster.py",
        "    signal.signal(signal.SIGINT, interrupted)   #",
        "    #",
        "test_cluster.py::test_slurm_leaves_ctrl_c_to_who_asked",
    ),
    Guard(
        "what a kernel has started, and outlives Ctrl-C",
        "book/make.py",
        "            child.kill()\n",
        "            pass\n",
        "test_faults_interrupts.py::test_a_run_cut_off_leaves_no_kernel_and_no_page_and_goes_on_later",
    ),
    Guard(
        "a page that looks whole and is not",
        "book/make.py",
        'self.executed.with_suffix(".partial.ipynb")',
        "self.executed",
        "test_run_all.py::test_a_failing_page_is_reported_and_the_book_has_the_others",
    ),
    Guard(
        "two runs in one checkout",
        "book/make.py",
        "            lock.acquire()\n",
        "            pass\n",
        "test_faults_interrupts.py::test_a_second_run_waits_for_the_first",
    ),
    Guard(
        "a book that Sphinx complains of",
        "book/make.py",
        "        if done.returncode:\n",
        "        if False:\n",
        "test_run_all.py::test_a_book_that_sphinx_complains_of_does_not_replace_the_old_one",
    ),
    Guard(
        "a page that fills the disk",
        "book/make.py",
        "    except OSError as error:\n        reason =",
        "    except ZeroDivisionError as error:\n        reason =",
        "test_faults_disk.py::test_a_page_that_filled_the_disk_is_told_and_done_again",
    ),
]


def tried(copy: Path, *tests: str) -> str:
    """"" where all tests pass, else the first one's own line."""
    done = subprocess.run([sys.executable, "-B", "-m", "pytest", "-n", "0", "-x", "-q", "-p", "no:cacheprovider",
                           *(f"tests/{test}" for test in tests)], cwd=copy, capture_output=True, encoding="utf-8",
                          env={**os.environ, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"})
    if done.returncode not in (0, 1):
        sys.exit(f"pytest ended with exit code {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    if not done.returncode and " skipped" in done.stdout:
        return "SKIPPED"
    reasons = [line[1:].strip() for line in done.stdout.splitlines() if re.match(r"E\s+\S", line)]
    return re.sub(rf"{tempfile.gettempdir()}/\S+/", "", (reasons or ["failed"])[0]) if done.returncode else ""


def left_out(folder: str, names: list[str]) -> set[str]:
    """What the copy does without: what runs made, and the data root."""
    return {"_build", *([".git", ".venv", "data", "build"] if Path(folder) == ROOT else [])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD")
    args = parser.parse_args()
    chosen = [one for one in GUARDS if not args.words or any(word in one.against for word in args.words)]
    if not chosen:
        sys.exit("there are only guards against " + "; ".join(one.against for one in GUARDS))

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "book")
        shutil.copytree(ROOT, copy, ignore=left_out)
        print(time.strftime("%FT%TZ", time.gmtime()), "Python", platform.python_version(),
              *(f"{name} {version(name)}" for name in ("torch", "distributed", "pytest")), flush=True)
        start = time.monotonic()
        if said := tried(copy, *dict.fromkeys(one.test for one in chosen)):
            sys.exit(f"with all guards in, a test fails: {said}")
        print(f"with all guards in, all tests pass ({time.monotonic() - start:.0f} s)", flush=True)
        survived = 0
        for one in chosen:
            path = copy / one.file
            whole = path.read_text(encoding="utf-8")
            if whole.count(one.guard) != 1:
                sys.exit(f"{one.file} has this {whole.count(one.guard)} times, not once: {one.guard!r}")
            path.write_text(whole.replace(one.guard, one.without), encoding="utf-8")
            start = time.monotonic()
            said = tried(copy, one.test)
            path.write_text(whole, encoding="utf-8")
            survived += not said
            print(f"{one.against}\n    {one.file}, {one.test.replace('::', ' ')}", flush=True)
            took = f"{time.monotonic() - start:.0f} s"
            print(f"    fails after {took}: {said[:100]}" if said else f"    STILL PASSES after {took}", flush=True)
    print(f"{len(chosen) - survived} of {len(chosen)} guards are missed by their test when they are gone")
    sys.exit(survived > 0)


if __name__ == "__main__":
    main()
