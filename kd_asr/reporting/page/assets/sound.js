// An utterance to hear, with waveform, frames, times of words and phones, and posteriors at a temperature.
"use strict";

(() => {
  const { data, plain, bytes } = kdAsr;
  const waiting = new Map(); // number of a file -> what to do with its content
  const LEAST = 0.02; // phones that reach this posterior have a row

  // Called by the script of an utterance.
  kdAsr.arrived = (number, content) => {
    waiting.get(number)?.(content);
    waiting.delete(number);
  };

  kdAsr.hear = (place, row) => {
    const box = document.createElement("div");
    box.className = "sound";
    box.textContent = "…";
    place.append(box);
    waiting.set(row.file, (content) => box.isConnected && show(box, row, content));
    const script = document.createElement("script");
    script.src = `utterances/${String(row.file).padStart(4, "0")}.js`;
    script.onload = () => script.remove();
    script.onerror = () => { box.textContent = `${script.src} cannot be read.`; };
    document.head.append(script);
  };

  const make = (tag, fields, ...children) => {
    const made = Object.assign(document.createElement(tag), fields);
    made.append(...children);
    return made;
  };

  function slider(name, last, value, change) {
    const output = document.createElement("output");
    const input = make("input", { type: "range", min: 0, max: last, step: 1, value, id: `slider-${name}` });
    input.addEventListener("input", () => change(Number(input.value), output));
    change(value, output);
    return [make("p", { className: "slider" }, make("label", { htmlFor: input.id }, `${name} `), input, output), input];
  }

  function show(box, row, content) {
    const { frames, bands } = content;
    const count = data.phones.length;
    // [group][temperature]: bytes of (frames, phones).
    const maps = content.posteriors.map((each) => each.map(bytes));
    const logOf = (byte) => data.lowest * (1 - byte / 255);
    const probability = (group, temperature, frame, phone) => Math.exp(logOf(maps[group][temperature][frame * count + phone]));
    const labels = data.phones.map(plain);
    const aligned = new Set(content.phones.map(([, , , phone]) => phone));
    const rows = data.phones.map((_, phone) => phone).filter((phone) => {
      if (aligned.has(phone)) return true;
      return maps.some((_, group) => {
        for (let frame = 0; frame < frames; frame++) if (probability(group, 0, frame, phone) > LEAST) return true;
        return false;
      });
    });
    const rowOf = new Map(rows.map((phone, number) => [phone, number]));
    let temperature = 0;
    const wide = box.clientWidth > 700;

    const start = (frame) => frame * data.shift;
    // As much as words and phones have room for; a double click shows all.
    const span = Math.min(start(frames), Math.max(1, box.clientWidth / 250));
    const times = Array.from({ length: frames }, (_, frame) => start(frame + 0.5));
    const wave = bytes(content.wave);
    const mel = bytes(content.mel);
    const grey = [[0, kdAsr.style("--page")], [1, kdAsr.style("--text")]];
    const middle = ([, first, length]) => start(first + length / 2);
    const texts = (items, y, size, name) => ({
      type: "scatter", mode: "text", x: items.map(middle), y: items.map(() => y), text: items.map(([label]) => plain(label)),
      textfont: { size }, yaxis: "y2", showlegend: false, name,
      hovertext: items.map(([label, first, length]) => `${plain(label)}: ${start(first).toFixed(2)} to ${start(first + length).toFixed(2)} s`),
      hoverinfo: "text",
    });

    function posteriorTrace(place) {
      const group = data.posteriorsOf[place];
      const z = rows.map((phone) => Array.from({ length: frames }, (_, frame) => logOf(maps[place][temperature][frame * count + phone])));
      const customdata = z.map((line) => line.map(Math.exp));
      return {
        type: "heatmap", x0: start(0.5), dx: data.shift, z, customdata, zmin: -6, zmax: 0, colorscale: data.viridis,
        y: rows.map((_, number) => number), yaxis: `y${4 + place}`, name: data.groups[group].label, meta: { group },
        showscale: place === 0 && wide,
        colorbar: {
          thickness: 12, lenmode: "pixels", len: 220, yanchor: "top", y: layout.yaxis4.domain[1], title: { text: "posterior" }, tickvals: [-6, -4.6052, -2.3026, -0.6931, 0], ticktext: ["≤0.0025", "0.01", "0.1", "0.5", "1"],
        },
        hovertemplate: "%{x:.2f} s %{y}: %{customdata:.3f}",
      };
    }

    function alignedTrace(place) {
      return {
        type: "scatter", mode: "lines", showlegend: false, hoverinfo: "skip", yaxis: `y${4 + place}`,
        x: content.phones.flatMap(([, first, length]) => [start(first), start(first + length), null]),
        y: content.phones.flatMap(([, , , phone]) => [rowOf.get(phone), rowOf.get(phone), null]),
        line: { color: "#D55E00", width: 2 }, meta: { group: data.posteriorsOf[place] },
      };
    }

    const traces = () => [
      { type: "scatter", mode: "lines", x: times, y: Array.from(wave, (one) => one / 255), fill: "tozeroy", yaxis: "y",
        line: { color: "#0072B2", width: 1 }, showlegend: false, name: "waveform", hovertemplate: "%{x:.2f} s: %{y:.2f}" },
      texts(content.words, 2, 12, "word"),
      texts(content.phones, 1, 9, "phone"),
      { type: "heatmap", x0: start(0.5), dx: data.shift, yaxis: "y3", colorscale: grey, showscale: false, name: "log-mel",
        z: Array.from({ length: bands }, (_, band) => Array.from({ length: frames }, (_, frame) => mel[frame * bands + band])),
        hovertemplate: "%{x:.2f} s, band %{y}" },
      ...maps.flatMap((_, place) => [posteriorTrace(place), alignedTrace(place)]),
    ];

    const tall = Math.max(160, 11 * rows.length);
    const heights = [60, 44, 120, ...maps.map(() => tall)];
    const gap = 26;
    const whole = heights.reduce((sum, one) => sum + one + gap, 0);
    const layout = {
      height: whole + 70, hovermode: "closest", margin: { l: 64, r: 10, t: 24, b: 40 }, showlegend: false, dragmode: "zoom",
      xaxis: { title: { text: "seconds" }, range: [0, span], anchor: `y${heights.length}` },
      shapes: [{ type: "line", x0: 0, x1: 0, y0: 0, y1: 1, yref: "paper", line: { color: "#CC79A7", width: 2 } }],
      annotations: [],
    };
    const names = ["waveform", "words and phones", "log-mel, as the networks see it", ...data.posteriorsOf.map((group) => data.groups[group].label)];
    let top = 1;
    heights.forEach((height, number) => {
      const bottom = top - height / whole;
      const axis = { domain: [Math.max(0, bottom), top], fixedrange: true, zeroline: false };
      if (number < 3) Object.assign(axis, { showticklabels: false, showgrid: false });
      if (number === 1) axis.range = [0.4, 2.6];
      if (number > 2) Object.assign(axis, { tickvals: rows.map((_, place) => place), ticktext: rows.map((phone) => labels[phone]), tickfont: { size: 9 } });
      layout[number ? `yaxis${number + 1}` : "yaxis"] = axis;
      layout.annotations.push({ text: plain(names[number]), x: 0, xref: "paper", xanchor: "left", y: top, yref: "paper", yanchor: "bottom", showarrow: false, font: { size: 11 } });
      top = bottom - gap / whole;
    });

    const plot = make("div", { className: "plot", id: "posteriorgram", role: "group" });
    plot.setAttribute("aria-label", "Waveform, words and phones in time, log-mel frames, and the posteriors of phones in each system; the line is the aligned phone. The moment's values stand below.");
    const values = make("ul", { id: "moment-values" });
    const audio = content.audio ? make("audio", { controls: true, preload: "metadata", src: `utterances/${content.audio}` }) : null;
    let frame = 0;

    function tell() {
      values.replaceChildren(...maps.map((_, place) => {
        const order = data.phones.map((_, phone) => [probability(place, temperature, frame, phone), phone]).sort((a, b) => b[0] - a[0]);
        const said = order.slice(0, 4).map(([value, phone]) => `${data.phones[phone]} ${value.toFixed(3)}`).join(", ");
        return make("li", {}, `${data.groups[data.posteriorsOf[place]].label}: ${said}`);
      }));
    }

    function moveTo(seconds) {
      if (!plot.layout) return;
      const change = { "shapes[0].x0": seconds, "shapes[0].x1": seconds };
      const [from, to] = plot.layout.xaxis.range;
      const first = Math.max(0, Math.min(seconds - 0.1 * (to - from), start(frames) - (to - from)));
      if (seconds < from || seconds > to) change["xaxis.range"] = [first, first + to - from];
      Plotly.relayout(plot, change);
    }

    const [momentLine, moment] = slider("Moment", frames - 1, 0, (value, output) => {
      frame = value;
      output.textContent = `${start(value).toFixed(2)} s`;
      moveTo(start(value + 0.5));
      tell();
    });
    const [temperatureLine] = slider("Temperature", data.temperatures.length - 1, 0, (value, output) => {
      temperature = value;
      output.textContent = `T = ${data.temperatures[value]}`;
      tell();
      if (!plot.layout) return;
      layout.xaxis.range = plot.layout.xaxis.range; // as it is zoomed now
      layout.shapes = plot.layout.shapes;
      kdAsr.draw(plot, traces(), layout);
    });
    const alone = audio ?? make("p", {}, `The audio cannot be read: ${row.silent ?? ""}`);
    box.replaceChildren(alone, temperatureLine, momentLine, values, plot);
    plot.style.height = `${layout.height}px`;
    kdAsr.draw(plot, traces(), layout).then(() => {
      plot.on("plotly_click", ({ points }) => {
        const seconds = Number(points[0].x);
        moment.value = Math.max(0, Math.min(frames - 1, Math.floor(seconds / data.shift)));
        moment.dispatchEvent(new Event("input"));
        if (audio) audio.currentTime = seconds;
      });
    });
    if (audio) {
      const follow = () => {
        if (!audio.isConnected) return;
        moveTo(audio.currentTime);
        if (!audio.paused) requestAnimationFrame(follow);
      };
      audio.addEventListener("play", follow);
      audio.addEventListener("seeked", follow);
    }
  }
})();
