// The list of utterances: search, order, and the words of the chosen one side by side.
"use strict";

(() => {
  const table = document.getElementById("list");
  if (!table) return;
  const { data, hidden } = kdAsr;
  const search = document.getElementById("search");
  const found = document.getElementById("found");
  const columns = [
    { name: "utterance", of: (row) => row.id },
    { name: "speaker", of: (row) => row.speaker },
    { name: "seconds", of: (row) => row.seconds, number: true },
    { name: "words", of: (row) => row.words, number: true },
    ...data.groups.map((group, number) => ({
      name: `${group.label}: errors`, of: (row) => row.errors[number], number: true, group: number,
    })),
  ];
  // What the search looks in.
  const texts = data.utterances.map((row) =>
    [row.id, row.speaker, ...row.reference, ...row.rows.flat()].filter((word) => word !== null).join(" ").toLowerCase());
  let order = { column: columns.length - 1, descending: true };
  let chosen = null;

  const make = (tag, text, fields = {}) => Object.assign(document.createElement(tag), { textContent: text ?? "" }, fields);

  const head = table.createTHead().insertRow();
  columns.forEach((column, number) => {
    const cell = make("th", "", { scope: "col" });
    if (column.group !== undefined) cell.dataset.group = column.group;
    const button = make("button", column.name, { type: "button" });
    button.addEventListener("click", () => {
      order = { column: number, descending: order.column === number ? !order.descending : Boolean(column.number) };
      fill();
    });
    cell.append(button);
    head.append(cell);
  });
  const body = table.createTBody();

  const rows = data.utterances.map((row, number) => {
    const line = document.createElement("tr");
    columns.forEach((column, place) => {
      const cell = document.createElement(place ? "td" : "th");
      if (place) {
        cell.textContent = column.of(row);
        if (column.group !== undefined) cell.dataset.group = column.group;
      } else {
        cell.scope = "row";
        const mark = row.file === null ? "" : " ▶";
        const button = make("button", `${row.id}${mark}`, { type: "button" });
        button.addEventListener("click", () => open(number));
        cell.append(button);
      }
      line.append(cell);
    });
    return line;
  });

  function fill() {
    const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const { of, number } = columns[order.column];
    const numbers = data.utterances.map((_, place) => place)
      .filter((place) => wanted.every((word) => texts[place].includes(word)));
    const compare = (a, b) => {
      const [one, other] = [of(data.utterances[a]), of(data.utterances[b])];
      const sign = number ? one - other : one < other ? -1 : one > other ? 1 : 0;
      return (order.descending ? -sign : sign) || a - b;
    };
    body.replaceChildren(...numbers.sort(compare).map((place) => rows[place]));
    [...head.cells].forEach((cell, place) => {
      if (place === order.column) cell.setAttribute("aria-sort", order.descending ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
    found.textContent = `${numbers.length} of ${rows.length}`;
    showSystems();
  }

  function showSystems() {
    for (const cell of document.querySelectorAll("#list [data-group], #chosen tr[data-group]")) {
      cell.hidden = hidden.has(Number(cell.dataset.group));
    }
  }

  // Each kind of error has a sign and a name as well as a colour.
  function wordCell(reference, hypothesis) {
    if (reference === null && hypothesis === null) return make("td");
    if (reference === null) return make("td", `+ ${hypothesis}`, { className: "insertion", title: "insertion" });
    if (hypothesis === null) return make("td", "−", { className: "deletion", title: `deletion of ${reference}` });
    if (hypothesis === reference) return make("td", hypothesis);
    return make("td", `≠ ${hypothesis}`, { className: "substitution", title: `substitution of ${reference}` });
  }

  function wordTable(row) {
    const made = make("table", "", { className: "words" });
    made.append(make("caption", "Reference and hypotheses, word by word: + inserted, − left out, ≠ another word"));
    const top = made.insertRow();
    top.append(make("th", "reference", { scope: "row" }));
    row.reference.forEach((word) => top.append(make("td", word ?? "")));
    row.rows.forEach((words, number) => {
      const { name, group } = data.systems[number];
      const line = made.insertRow();
      line.dataset.group = group;
      const title = make("th", name, { scope: "row" });
      title.style.borderLeftColor = kdAsr.visibleColour(data.groups[group].colour);
      line.append(title);
      words.forEach((word, place) => line.append(wordCell(row.reference[place], word)));
    });
    const frame = make("div", "", { className: "wide", tabIndex: 0, role: "region" });
    frame.setAttribute("aria-label", "Words side by side");
    frame.append(made);
    return frame;
  }

  function open(number) {
    const row = data.utterances[number];
    const place = document.getElementById("chosen");
    if (chosen !== null) rows[chosen].classList.remove("open");
    chosen = number;
    rows[number].classList.add("open");
    const title = make("h3", `${row.id}, speaker ${row.speaker}, ${row.seconds} s`, { tabIndex: -1 });
    place.replaceChildren(title, wordTable(row));
    if (row.file === null) place.append(make("p", "Its audio and posteriors are not on this page."));
    else kdAsr.hear(place, row);
    showSystems();
    title.focus({ preventScroll: true });
    title.scrollIntoView({ block: "nearest" });
  }

  search.addEventListener("input", fill);
  kdAsr.onSystems(showSystems);
  fill();
})();
