"""The guards of bench/guards.py are lines that exist, and so are the tests that are to fail without them."""
import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
_spec = importlib.util.spec_from_file_location("guards", ROOT / "bench" / "guards.py")
guards = sys.modules["guards"] = importlib.util.module_from_spec(_spec)   # its dataclass looks itself up there
_spec.loader.exec_module(guards)


@pytest.mark.parametrize("guard", guards.GUARDS, ids=lambda guard: guard.against)
def test_a_guard_and_its_test_exist(guard):
    file, _, name = guard.test.partition("::")
    assert guard.guard in (ROOT / guard.file).read_text()
    assert f"def {name.partition('[')[0]}(" in (ROOT / "tests" / file).read_text()
