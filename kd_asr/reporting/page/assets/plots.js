// Data of the page, its colours, and the plots: drawn when they come into view, in the colours of the theme.
"use strict";

const kdAsr = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const hidden = new Set(); // numbers of the groups that are switched off
  const listeners = [];
  const drawn = new Map(); // element -> [traces, layout]

  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // Plotly takes some markup in labels for its own.
  const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");

  // Black lines would not be seen on black.
  const visibleColour = (colour) => (colour === "#000000" ? style("--text") : colour);

  function inTheme(value) {
    if (Array.isArray(value)) return value.map(inTheme);
    if (value === null || typeof value !== "object" || ArrayBuffer.isView(value)) return visibleColour(value);
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, inTheme(one)]));
  }

  function themed(layout) {
    const grid = { gridcolor: style("--line"), zerolinecolor: style("--faint"), linecolor: style("--faint"), automargin: true };
    const found = {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: style("--text"), family: "system-ui, sans-serif", size: 13 },
      margin: { l: 56, r: 12, t: 44, b: 44 },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom" },
      hoverlabel: { namelength: -1 },
      ...layout,
    };
    for (const key of new Set([...Object.keys(layout).filter((name) => /^[xy]axis\d*$/.test(name)), "xaxis", "yaxis"])) {
      found[key] = { ...grid, ...layout[key] };
    }
    return found;
  }

  const shownOf = (traces) => traces.map((one) => !(one.meta && hidden.has(one.meta.group)));

  function draw(element, traces, layout) {
    drawn.set(element, [traces, layout]);
    const visible = shownOf(traces);
    const given = inTheme(traces).map((one, number) => ({ ...one, visible: visible[number] }));
    const options = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] };
    return Plotly.react(element, given, themed(layout), options);
  }

  function redraw() {
    for (const [element, [traces, layout]] of drawn) {
      if (element.isConnected) draw(element, traces, layout);
      else drawn.delete(element);
    }
  }

  // A theme that was chosen is kept; else it is the system's.
  function setUpTheme() {
    const button = document.getElementById("theme");
    const isDark = () => getComputedStyle(document.documentElement).colorScheme.trim() === "dark";
    const set = (name) => {
      if (name) document.documentElement.dataset.theme = name;
      button.setAttribute("aria-pressed", String(isDark()));
    };
    let kept = null;
    try {
      kept = localStorage.getItem("kd-asr-theme");
    } catch { /* files may have no storage */ }
    set(kept === "dark" || kept === "light" ? kept : "");
    button.addEventListener("click", () => {
      const name = isDark() ? "light" : "dark";
      set(name);
      try {
        localStorage.setItem("kd-asr-theme", name);
      } catch { /* as above */ }
      redraw();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      set("");
      redraw();
    });
  }

  function setUpSystems() {
    const box = document.getElementById("systems");
    if (!box) return;
    data.groups.forEach((group, number) => {
      const label = document.createElement("label");
      const input = Object.assign(document.createElement("input"), { type: "checkbox", checked: true });
      input.dataset.group = number;
      const mark = document.createElement("span");
      mark.className = "mark";
      mark.style.background = visibleColour(group.colour);
      label.append(input, mark, ` ${group.label}`);
      box.append(label);
      input.addEventListener("change", () => {
        if (input.checked) hidden.delete(number);
        else hidden.add(number);
        redraw();
        listeners.forEach((listener) => listener());
      });
    });
  }

  function setUpPlots() {
    const seen = new IntersectionObserver((entries) => {
      for (const entry of entries.filter((one) => one.isIntersecting)) {
        seen.unobserve(entry.target);
        const spec = data.plots.find((one) => `plot-${one.name}` === entry.target.id);
        draw(entry.target, spec.data, spec.layout);
      }
    }, { rootMargin: "300px" });
    for (const spec of data.plots) {
      const element = document.getElementById(`plot-${spec.name}`);
      if (element) seen.observe(element);
    }
  }

  // Bytes of base64 as an array.
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  setUpTheme();
  setUpSystems();
  setUpPlots();
  return { data, hidden, plain, draw, bytes, style, visibleColour, onSystems: (listener) => listeners.push(listener) };
})();
