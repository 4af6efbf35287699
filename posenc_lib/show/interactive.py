"""Interactive outputs: images to choose from, a canvas on which an image is dragged, an image that slides.

Everything is computed beforehand and embedded, so they work in JupyterLab and, without a server, in the book.
"""
import base64
import html
import io
import json
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML, display

_BODY = """<figure class="explorer pooled" id="{id}">
<div style="display:flex;flex-wrap:wrap;gap:1.2rem;align-items:flex-start">
<canvas width="288" height="288" tabindex="0" role="img" aria-label="{label}"
 style="touch-action:none;cursor:grab;border:1px solid #888;background:#777;max-width:100%"></canvas>
<div style="flex:1;min-width:15rem">
<p><label>padding <select>{options}</select></label> <button type="button">Shuffle the channels</button></p>
<canvas width="420" height="110" role="img" aria-label="averages of the channels" style="max-width:100%"></canvas>
<p aria-live="polite"></p></div></div><figcaption>{caption}</figcaption></figure>
<script>(() => {{
const data = {data}, figure = document.getElementById("{id}");
const [board, bars] = figure.querySelectorAll("canvas"), choice = figure.querySelector("select");
const button = figure.querySelector("button"), answer = figure.querySelector("[aria-live]");
const n = data.positions, k = data.grid, scale = board.width / data.side, step = data.step;
let place = [0, 0], order = null;
const stamp = document.createElement("canvas");
stamp.width = stamp.height = data.picture.length;
const pixels = stamp.getContext("2d").createImageData(stamp.width, stamp.height);
data.picture.flat().forEach((grey, i) => pixels.data.set([grey, grey, grey, 255], 4 * i));
stamp.getContext("2d").putImageData(pixels, 0, 0);
function draw() {{
  const [row, col] = place, {{z, weights, bias}} = data.networks[choice.value];
  const seen = z[row * n + col], used = order ? order.map(c => seen[c]) : seen;
  const logits = bias.map((b, cell) => b + used.reduce((sum, value, c) => sum + value * weights[c][cell], 0));
  const cell = logits.indexOf(Math.max(...logits)), half = data.picture.length / 2;
  const [down, across] = [row, col].map(x => Math.floor((x * step + half) / data.side * k));
  const true_cell = down * k + across;
  const pen = board.getContext("2d"), size = board.width / k;
  pen.clearRect(0, 0, board.width, board.height);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(stamp, col * step * scale, row * step * scale, stamp.width * scale, stamp.height * scale);
  pen.strokeStyle = "#bbb"; pen.lineWidth = 1;
  for (let i = 1; i < k; i++) {{
    pen.strokeRect(i * size, -2, 0, board.height + 4); pen.strokeRect(-2, i * size, board.width + 4, 0);
  }}
  pen.strokeStyle = "#e69f00"; pen.lineWidth = 5;
  pen.strokeRect(cell % k * size + 3, Math.floor(cell / k) * size + 3, size - 6, size - 6);
  const chart = bars.getContext("2d"), width = bars.width / used.length, middle = bars.height / 2;
  chart.clearRect(0, 0, bars.width, bars.height);
  chart.fillStyle = "#0173b2";
  used.forEach((value, c) => chart.fillRect(c * width, middle, width - 1, -middle * Math.tanh(value / 2)));
  answer.textContent = `The linear layer predicts cell ${{cell}} (orange frame); the image is ` +
    (cell === true_cell ? "there." : `in cell ${{true_cell}}.`);
  button.textContent = order ? "Put them back in order" : "Shuffle the channels";
}}
function move(row, col) {{
  place = [row, col].map(x => Math.max(0, Math.min(n - 1, x)));
  draw();
}}
function drag(event) {{
  const box = board.getBoundingClientRect(), half = data.picture.length / 2;
  const [row, col] = [event.clientY - box.top, event.clientX - box.left].map(
    x => Math.round((x / box.width * data.side - half) / step));
  move(row, col);
}}
board.addEventListener("pointerdown", event => {{ board.setPointerCapture(event.pointerId); drag(event); }});
board.addEventListener("pointermove", event => event.buttons && drag(event));
board.addEventListener("keydown", event => {{
  const by = {{ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}}[event.key];
  if (by) {{ event.preventDefault(); move(place[0] + by[0], place[1] + by[1]); }}
}});
choice.addEventListener("change", draw);
button.addEventListener("click", () => {{
  const channels = [...data.networks[choice.value].z[0].keys()];
  for (let i = channels.length - 1; i > 0 && !order; i--) {{
    const j = Math.floor(Math.random() * (i + 1));
    [channels[i], channels[j]] = [channels[j], channels[i]];
  }}
  order = order ? null : channels;
  draw();
}});
draw();
}})();</script>"""

_SLIDING = """<figure class="explorer sliding" id="{id}">
<p><label>image <select>{pictures}</select></label> <label>fill <select>{fills}</select></label></p>
<p><label>shift to the right <input type="range" min="0" max="{side}" value="0" style="width:14rem;max-width:100%">
</label> <output>0</output> pixels</p>
<div style="display:flex;flex-wrap:wrap;gap:1.2rem;align-items:flex-start">
<canvas width="192" height="192" role="img" aria-label="the shifted image"
 style="border:1px solid #888;max-width:100%"></canvas>
<table style="margin:0;border-collapse:separate;border-spacing:.5rem 0">
<thead><tr><th>network</th><th>prediction</th><th>predictions at 0 to {side} pixels</th></tr>
</thead><tbody></tbody></table></div>
<p aria-live="polite"></p><figcaption>{caption}</figcaption></figure>
<script>(() => {{
const data = {data}, figure = document.getElementById("{id}"), side = {side};
const [picture, fill] = figure.querySelectorAll("select"), slider = figure.querySelector("input");
const board = figure.querySelector("canvas"), names = Object.keys(Object.values(data.answers)[0]);
const rows = names.map(name => {{
  const row = figure.querySelector("tbody").insertRow(), strip = document.createElement("canvas");
  [strip.width, strip.height] = [8 * (side + 1), 20];
  strip.setAttribute("role", "img");
  strip.style.maxWidth = "100%";
  row.insertCell().textContent = name;
  const answer = row.insertCell();
  row.insertCell().append(strip);
  return [name, answer, strip];
}});
const stamp = document.createElement("canvas");
stamp.width = stamp.height = side;
function draw() {{
  const by = Number(slider.value), round = fill.value in data.wraps, now = data.pictures[picture.selectedIndex];
  const pixels = stamp.getContext("2d").createImageData(side, side);
  for (let row = 0; row < side; row++) for (let col = 0; col < side; col++) {{
    const from = round ? (col - by + side) % side : col - by;
    const grey = from < 0 ? 0 : now[row][from];
    pixels.data.set([grey, grey, grey, 255], 4 * (row * side + col));
  }}
  stamp.getContext("2d").putImageData(pixels, 0, 0);
  const pen = board.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.drawImage(stamp, 0, 0, board.width, board.height);
  let changed = 0;
  for (const [name, cell, strip] of rows) {{
    const answers = data.answers[fill.value][name][picture.selectedIndex], chart = strip.getContext("2d");
    chart.clearRect(0, 0, strip.width, strip.height);
    answers.forEach((answer, n) => {{
      chart.fillStyle = answer === answers[0] ? "#bbb" : "#de8f05";
      chart.fillRect(8 * n, n % {stride} ? 6 : 2, 7, n % {stride} ? 8 : 16);
    }});
    chart.strokeStyle = chart.fillStyle = "#0173b2"; chart.lineWidth = 3;
    chart.strokeRect(8 * by - 1, 1, 9, strip.height - 2);
    cell.textContent = data.classes[answers[by]];
    const other = answers.filter(answer => answer !== answers[0]).length;
    strip.setAttribute("aria-label", `a different prediction at ${{other}} of ${{side}} shifts`);
    if (answers[by] !== answers[0]) {{ cell.textContent += ", changed"; changed++; }}
  }}
  figure.querySelector("output").textContent = by;
  figure.querySelector("[aria-live]").textContent =
    `${{changed}} of ${{rows.length}} networks predict another class than for the unshifted image.`;
}}
for (const control of [picture, fill, slider]) control.addEventListener("input", draw);
draw();
}})();</script>"""


def pictures(frames: Mapping[tuple[str, ...], np.ndarray], choices: Sequence[str], caption: str) -> None:
    """Display one of several images, chosen by a menu for each part of its key.

    frames   key, a value for each choice -> pixels (row, col, rgb), 0..1, drawn without interpolation; every
             combination of values has an image
    choices  what the values of each part are, as in ("padding", "layer")
    """
    images: list[str] = []
    for key, pixels in frames.items():
        file = io.BytesIO()
        plt.imsave(file, np.asarray(pixels), format="png")
        data = base64.b64encode(file.getvalue()).decode()
        images.append(f'<img alt="{html.escape(", ".join(key))}" src="data:image/png;base64,{data}" '
                      f'style="width:24rem;max-width:100%;image-rendering:pixelated"{" hidden" if images else ""}>')
    change = ("const f=this.closest('figure'),"
              "key=[...f.querySelectorAll('select')].map(s=>s.value).join(', ');"
              "f.querySelectorAll('img').forEach(m=>m.hidden=m.alt!==key)")
    menus = []
    for n, choice in enumerate(choices):
        values = dict.fromkeys(key[n] for key in frames)
        options = "".join(f"<option>{html.escape(value)}</option>" for value in values)
        menu = f'<select onchange="{html.escape(change)}">{options}</select>'
        menus.append(f"<label>{html.escape(choice)} {menu}</label>")
    display(HTML(f'<figure class="explorer"><p>{" ".join(menus)}</p>{"".join(images)}'
                 f'<figcaption>{html.escape(" ".join(caption.split()))}</figcaption></figure>'))


def pooled_channels(picture: np.ndarray, networks: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], *,
                    side: int, step: int, grid: int, caption: str, name: str = "pooled-channels") -> None:
    """Display a canvas on which an image can be dragged, its pooled latent, and the cell that a linear layer predicts.

    picture   grey values (row, col), 0 to 255
    networks  name -> latents (position, channel) in row-major order of positions, weights (channel, cell), bias (cell)
    side      of the canvas, in pixels; positions are `step` pixels apart
    grid      cells along a side
    """
    positions = (side - len(picture)) // step + 1
    data = {"picture": picture.astype(int).tolist(), "side": side, "step": step, "grid": grid, "positions": positions,
            "networks": {key: {"z": _rounded(z), "weights": _rounded(weights), "bias": _rounded(bias)}
                         for key, (z, weights, bias) in networks.items()}}
    options = "".join(f"<option>{html.escape(key)}</option>" for key in networks)
    text = html.escape(" ".join(caption.split()))
    display(HTML(_BODY.format(id=html.escape(name), label="a canvas on which an image can be dragged", options=options,
                              caption=text, data=json.dumps(data, separators=(",", ":")))))


def sliding(pictures: Sequence[np.ndarray], answers: Mapping[str, Mapping[str, Sequence[Sequence[int]]]],
            classes: Sequence[str], *, stride: int, wraps: Sequence[str], caption: str, name: str = "sliding") -> None:
    """Display an image that slides to the right, and what each network predicts at every shift.

    pictures  square arrays of grey values (row, col), 0 to 255
    answers   border fill -> network -> for each image, the predicted class at 0, 1, .. side pixels
    stride    strips are taller at its multiples
    wraps     keys of `answers` under which pixels that leave on the right re-enter on the left; otherwise black enters
    """
    data = {"pictures": [np.asarray(picture).astype(int).tolist() for picture in pictures], "answers": answers,
            "classes": list(classes), "wraps": dict.fromkeys(wraps, True)}
    numbers = "".join(f"<option>{n}</option>" for n in range(1, len(pictures) + 1))
    fills = "".join(f"<option>{html.escape(fill)}</option>" for fill in answers)
    display(HTML(_SLIDING.format(id=html.escape(name), side=len(pictures[0]), stride=stride, pictures=numbers,
                                 fills=fills, caption=html.escape(" ".join(caption.split())),
                                 data=json.dumps(data, separators=(",", ":")))))


def _rounded(values: np.ndarray) -> Sequence:
    return np.round(np.asarray(values, dtype=float), 4).tolist()
