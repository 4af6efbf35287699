"""A bar where somebody watches, one line where nobody does; the items come through unchanged."""
import sys

import pytest

from posenc_lib.base import progress


def watch(monkeypatch, terminal: bool = True, headless: bool = False) -> None:
    """Make it look as if the error stream were a terminal, or as if run_all.sh had started this."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    if headless:
        monkeypatch.setenv("POSENC_HEADLESS", "1")
    else:
        monkeypatch.delenv("POSENC_HEADLESS", raising=False)


@pytest.mark.parametrize("headless", [False, True])
def test_items_come_through_under_a_bar_only_where_somebody_watches(headless, monkeypatch, capsys):
    watch(monkeypatch, headless=headless)
    assert list(progress.bar([3, 1, 2], "epoch 1/2")) == [3, 1, 2]
    assert ("epoch 1/2" in capsys.readouterr().err) == (not headless)


def test_a_pipe_is_not_watched_but_a_notebook_is(monkeypatch):
    watch(monkeypatch, terminal=False)
    assert not progress.watched()
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    assert progress.watched()


@pytest.mark.parametrize("headless", [False, True])
def test_one_line_that_stays(headless, monkeypatch, capsys):
    watch(monkeypatch, headless=headless)
    assert list(progress.counted_bar(iter([3, 1, 2]), 3, "gapnet-location", "9 were on file")) == [3, 1, 2]
    assert capsys.readouterr().out == "gapnet-location: 3 ran in 0 s; 9 were on file\n"
    assert not list(progress.counted_bar([], 0, "gapnet-location"))
    assert capsys.readouterr().out == "gapnet-location: 0 ran in 0 s\n"
