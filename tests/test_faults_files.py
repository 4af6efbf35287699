"""Damaged checkpoints and records: the same results or one sentence, and never others."""
import json
import random
import re
import warnings
from dataclasses import replace

import pytest
from test_training import RECIPE, digits, fitted, same

from posenc_lib.run import records
from posenc_lib.run.config import digest

__all__ = ["digits"]   # a fixture


def test_a_damaged_checkpoint_gives_the_same_run_or_one_sentence(digits, tmp_path):
    """Bytes changed anywhere: in the weights too, where torch.load would not notice."""
    dice, file, recipe = random.Random(0), tmp_path / "run.pt", replace(RECIPE, epochs=1)
    model, history = fitted(digits, recipe=recipe, checkpoint=file)
    whole, told = file.read_bytes(), 0
    for n in range(200):
        damaged = bytearray(whole)
        if n % 10 == 0:
            del damaged[dice.randrange(len(whole)):]
        elif n % 10 == 1:
            del damaged[(at := dice.randrange(len(whole))):at + dice.randint(1, 100)]
        else:
            damaged[dice.randrange(len(whole))] ^= 1 << dice.randrange(8)
        file.write_bytes(b"" if n == 0 else damaged)
        try:
            again, history_again = fitted(digits, recipe=recipe, checkpoint=file)
            assert same(again, model) and history_again == history
        except ValueError as error:
            assert re.fullmatch(rf"fit: cannot resume from checkpoint {file} \(\w+: .+\); delete it to restart "
                                r"this run", str(error))
            told += 1
    assert told >= 100


# ------------------------------------------------------------------------------------------ records

def lines(n: int = 4) -> list[bytes]:
    config = {"class": "Config", "grid": 3, "recipe": {"epochs": 3, "rate": 0.01}}
    made = [{"experiment": "a-claim", "digest": digest(config), "seed": seed, "config": config,
             "results": {"accuracy": 0.25 + seed, "by_cell": [1.5, -2e-7, None, 12], "why": "é \\u00e9"},
             "source": {"device": "CPU", "seconds": 1.0}} for seed in range(n)]
    return [json.dumps(one).encode() + b"\n" for one in made]


def flipped(dice, content):
    at = dice.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << dice.randrange(8)]) + content[at + 1:]


def without_some(dice, content):
    at = dice.randrange(len(content))
    return content[:at] + content[at + dice.randint(1, 40):]


def with_noise(dice, content):
    at = dice.randrange(len(content))
    return content[:at] + dice.randbytes(dice.randint(1, 8)) + content[at:]


def with_a_text(dice, content):
    """Something that breaks readers, at any place, or for a value."""
    text = dice.choice([b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"[" * 100_000, b'{"a":' * 100_000, b"\\ud800",
                        b"\xed\xa0\x80", b"\x00", b"\xef\xbb\xbf", b"\xff\xfe", b"\r", b"\n", b"}{", b'"seed": 7, ',
                        b'"results": {}, ', b"[" * 900 + b"]" * 900])
    if dice.random() < 0.5:
        values = [found.span() for found in re.finditer(rb"(?<=: )[^,\[{}]+|(?<=[,{] )(?=\")", content)]
        start, end = dice.choice(values)
        return content[:start] + text + content[end:]
    at = dice.randrange(len(content))
    return content[:at] + text + content[at:]


def joined(dice, content):
    parts = content.splitlines(keepends=True)
    n = dice.randrange(len(parts))
    return b"".join(part.rstrip(b"\n") if i == n else part for i, part in enumerate(parts))


def cut(dice, content):
    return content[:dice.randrange(len(content))]


def doubled(dice, content):
    parts = content.splitlines(keepends=True)
    return b"".join([*parts, *dice.choices(parts, k=3)])


def swapped(dice, content):
    parts = content.splitlines(keepends=True)
    return b"".join(dice.sample(parts, len(parts)))


def of_an_editor(dice, content):
    return dice.choice([content.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + content, content.replace(b": ", b" :\t ")])


DAMAGE = [flipped, without_some, with_noise, with_a_text, joined]
HARMLESS = [doubled, swapped, of_an_editor]


@pytest.mark.filterwarnings("error")
def test_a_thousand_damaged_files_are_read_rightly_or_told(tmp_path):
    """Well formed damage outside the configuration cannot be told; all else is, and no number is read that is none."""
    dice, file, seen = random.Random(0), tmp_path / "a.jsonl", dict.fromkeys(("read", "torn", "told"), 0)
    content = b"".join(lines())
    file.write_bytes(content)
    originals = records.load(file)
    config = originals[0].config
    for n in range(1000):
        change = [*DAMAGE, *DAMAGE, *HARMLESS, cut][n % 14]
        file.write_bytes(change(dice, content))
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                found = records.load(file)
            except ValueError as error:
                assert change in DAMAGE, error
                assert re.fullmatch(
                    rf"records: {file}:\d+ is not a record \([^\n]+\); delete that line, and its run will "
                    r"be repeated",
                    str(error),
                )
                seen["told"] += 1
                continue
        assert all(f"the last line of {file} is incomplete" in str(warning.message) for warning in warned)
        seen["torn" if warned else "read"] += 1
        if change in HARMLESS:
            assert sorted(found, key=lambda one: one.seed) == originals and not warned
        elif change is cut:
            assert found == originals[:len(found)]
        assert all((one.config, one.digest) == (config, digest(config)) for one in found)
        json.dumps([one.results for one in found], allow_nan=False)
    assert seen["read"] > 200 and seen["torn"] > 50 and seen["told"] > 400, seen


@pytest.mark.parametrize("old, new, reason", [
    (b'"seed": 1,', b'"seed": 1, "seed": 7,', "it has a duplicate key"),
    (b"1.25", b"1e999", "Out of range float values are not JSON compliant"),
    (b"1.25", b"-Infinity", "Out of range float values are not JSON compliant"),
    (b"1.25", b"NaN", "Out of range float values are not JSON compliant"),
    (b"1.25", b"9" * 5000, "Exceeds the limit"),
    (b"1.25", b"[" * 100_000, "maximum recursion depth exceeded"),
    (b"CPU", b"\xed\xa0\x80", "'utf-8' codec can't decode"),
], ids=["twice", "1e999", "-Infinity", "NaN", "digits", "nested", "surrogate"])
def test_what_json_would_let_pass_is_told(tmp_path, old, new, reason):
    one = lines()
    one[1] = one[1].replace(old, new)
    (tmp_path / "a.jsonl").write_bytes(b"".join(one))
    with pytest.raises(ValueError, match=rf"records: .*a\.jsonl:2 is not a record \({reason}.*\); delete that line"):
        records.load(tmp_path / "a.jsonl")
