// Digits: pictures, and the teacher's soft targets at any temperature.
"use strict";

(() => {
  const { data, bytes } = kdAsr;
  if (!data.digits) return;
  const side = data.digits.side;

  // A picture from its grey values, dark on light as digits are written.
  function paint(canvas, grey) {
    canvas.width = canvas.height = side;
    const context = canvas.getContext("2d");
    const image = context.createImageData(side, side);
    grey.forEach((value, place) => image.data.set([255 - value, 255 - value, 255 - value, 255], 4 * place));
    context.putImageData(image, 0, 0);
  }

  for (const canvas of document.querySelectorAll("canvas[data-picture]")) {
    paint(canvas, bytes(data.digits.pictures[Number(canvas.dataset.picture)]));
  }

  const input = document.getElementById("temperature");
  if (!input) return;
  const output = document.getElementById("temperature-said");
  const colour = (label) => Array.from({ length: 10 }, (_, digit) => (digit === label ? "#009E73" : "#CC79A7"));

  function soft(logs, temperature) {
    const scaled = logs.map((one) => one / temperature);
    const most = Math.max(...scaled);
    const all = scaled.map((one) => Math.exp(one - most));
    const sum = all.reduce((a, b) => a + b, 0);
    return all.map((one) => one / sum);
  }

  function show() {
    const temperature = 2 ** Number(input.value);
    output.textContent = `T = ${temperature.toPrecision(3)}`;
    for (const one of data.digits.targets) {
      const element = document.getElementById(`targets-${one.picture}`);
      const bars = {
        type: "bar", x: [...Array(10).keys()], y: soft(one.logs, temperature), marker: { color: colour(one.label) },
        hovertemplate: "%{x}: %{y:.3g}<extra></extra>",
      };
      kdAsr.draw(element, [bars], {
        margin: { l: 52, r: 4, t: 4, b: 24 }, xaxis: { dtick: 1, fixedrange: true },
        yaxis: { type: "log", range: [-9, 0.1], dtick: 3, fixedrange: true, exponentformat: "power" },
      });
    }
  }

  input.addEventListener("input", show);
  show();
})();
