"""Outputs to play with, in a real browser."""
import base64
import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
from IPython.display import HTML
from test_book import browser
from test_page import Parsed

from posenc_lib.show import interactive

__all__ = ["browser"]   # a fixture
SIDE, PICTURE, STEP = 12, 4, 2   # 5×5 positions on 3×3 cells


@pytest.fixture
def shown(monkeypatch) -> str:
    """HTML of two made-up networks: one whose channel c is 1 if the image is in cell c, one that never changes."""
    middles = (np.arange(5) * STEP + PICTURE / 2) / SIDE * 3
    cells = (middles[:, None].astype(int) * 3 + middles.astype(int)).ravel()
    outputs = []
    monkeypatch.setattr(interactive, "display", outputs.append)
    interactive.pooled_channels(
        np.full((PICTURE, PICTURE), 200.0),
        {"zero": (np.eye(9)[cells], np.eye(9), np.zeros(9)), "circular": (np.ones((25, 9)), np.eye(9), np.eye(9)[4])},
        side=SIDE, step=STEP, grid=3, caption="A <caption>\nof two lines.")
    assert isinstance(outputs[0], HTML)
    return outputs[0].data


def test_the_caption_is_text(shown):
    assert "<figcaption>A &lt;caption&gt; of two lines.</figcaption>" in shown


@pytest.mark.slow
def test_a_picture_can_be_dragged_and_its_channels_shuffled(shown, browser, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(f"<!doctype html><meta charset=utf-8>{shown}")
    page = browser.new_page()
    try:
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(file.as_uri())
        board, says = page.locator("canvas").first, page.locator("[aria-live]")
        box = board.bounding_box()
        assert says.inner_text() == "The linear layer predicts cell 0 (orange frame); the image is there."
        page.mouse.move(box["x"] + 10, box["y"] + 10)
        page.mouse.down()
        page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.5 * box["height"])
        page.mouse.up()
        assert says.inner_text() == "The linear layer predicts cell 5 (orange frame); the image is there."
        board.focus()
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowUp")
        assert "cell 2 " in says.inner_text()
        page.evaluate("Math.random = () => 0")   # then the shuffle rotates the channels by one
        page.get_by_role("button").click()
        assert says.inner_text() == "The linear layer predicts cell 1 (orange frame); the image is in cell 2."
        page.locator("select").select_option("circular")
        assert says.inner_text() == "The linear layer predicts cell 4 (orange frame); the image is in cell 2."
        page.locator("select").select_option("zero")
        page.get_by_role("button").click()
        assert says.inner_text() == "The linear layer predicts cell 2 (orange frame); the image is there."
        assert not errors
    finally:
        page.close()


FRAMES = {(mode, layer): np.full((2, 3, 3), n / 4) for n, (mode, layer) in enumerate(
    (mode, layer) for mode in ("zero", "<b>circular</b>") for layer in ("conv1", 'layer "4" & more'))}


@pytest.fixture
def chosen(monkeypatch) -> str:
    outputs = []
    monkeypatch.setattr(interactive, "display", outputs.append)
    interactive.pictures(FRAMES, ("padding", "layer"), "A <i>caption</i>\nof two lines.")
    return outputs[0].data


def test_every_picture_is_embedded_and_the_first_is_shown(chosen):
    pictures = Parsed(chosen).all("img")
    assert [picture["alt"] for picture in pictures] == [", ".join(key) for key in FRAMES]
    assert ["hidden" in picture for picture in pictures] == [False, True, True, True]
    for picture, pixels in zip(pictures, FRAMES.values(), strict=True):
        drawn = plt.imread(io.BytesIO(base64.b64decode(picture["src"].removeprefix("data:image/png;base64,"))))
        np.testing.assert_allclose(drawn[..., :3], pixels, atol=1 / 255)
    tags = {tag for tag, *_ in Parsed(chosen).tags}
    assert tags == {"figure", "p", "label", "select", "option", "img", "figcaption"}


@pytest.mark.slow
def test_menus_choose_the_picture(chosen, browser):
    page = browser.new_page()
    try:
        page.set_content(chosen + chosen)   # two on a page do not meddle with each other
        for n, value in ((1, 'layer "4" & more'), (0, "<b>circular</b>"), (1, "conv1")):
            page.locator("select").nth(n).select_option(value)
            wanted = ", ".join(select.input_value() for select in page.locator("select").all()[:2])
            assert [i.get_attribute("alt") for i in page.locator("img:visible").all()] == [wanted, "zero, conv1"]
    finally:
        page.close()


@pytest.fixture
def slides(monkeypatch) -> str:
    """HTML of two pictures of four pixels and two networks: one names the shift modulo 2, one never changes."""
    outputs = []
    monkeypatch.setattr(interactive, "display", outputs.append)
    answers = {"flips": [[0, 1, 0, 1, 0], [1, 1, 1, 0, 1]], "<steady>": [[2] * 5] * 2}
    interactive.sliding([np.eye(4) * 255, np.ones((4, 4))], {"wrap": answers, "black": answers}, ["a", "b", "<c>"],
                        stride=2, wraps=["wrap"], caption="A <caption>.")
    return outputs[0].data


@pytest.mark.slow
def test_a_slider_shifts_the_picture_and_shows_the_answers(slides, browser, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(f"<!doctype html><meta charset=utf-8>{slides}")
    page = browser.new_page()
    try:
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(file.as_uri())

        def rows():
            return [row.all_inner_texts()[:2] for row in (r.locator("td") for r in page.locator("tbody tr").all())]

        def pixel(col):
            """Grey value of the picture's top row."""
            return page.locator("figure > div > canvas").evaluate(
                "(board, col) => board.getContext('2d').getImageData(48 * col + 24, 24, 1, 1).data[0]", col)

        assert rows() == [["flips", "a"], ["<steady>", "<c>"]] and [pixel(c) for c in range(4)] == [255, 0, 0, 0]
        page.locator("input").focus()
        page.keyboard.press("ArrowRight")
        assert rows() == [["flips", "b, changed"], ["<steady>", "<c>"]]
        assert page.locator("output").inner_text() == "1" and [pixel(c) for c in range(4)] == [0, 255, 0, 0]
        assert page.locator("[aria-live]").inner_text().startswith("1 of 2 networks")
        page.locator("input").fill("4")                # all the way round, or out
        assert rows()[0] == ["flips", "a"] and pixel(0) == 255
        page.locator("select").nth(1).select_option("black")
        assert pixel(0) == 0
        page.locator("select").first.select_option("2")
        assert rows()[0] == ["flips", "b"]
        labels = [strip.get_attribute("aria-label") for strip in page.locator("td canvas").all()]
        assert labels == ["a different prediction at 1 of 4 shifts", "a different prediction at 0 of 4 shifts"]
        assert not errors
    finally:
        page.close()
