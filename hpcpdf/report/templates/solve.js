"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const viewer = new ClusterViewer(byId("viewer"), (text) => { byId("picked").textContent = text; });
  const chart = new PdfChart(byId("chart"), byId("readout"));
  chart.load(data);
  const rows = [...document.querySelectorAll("#ranking tbody tr")];
  let current = 0;

  function select(index) {
    current = index;
    const candidate = data.candidates[index];
    rows.forEach((row, i) => row.setAttribute("aria-selected", i === index));
    document.querySelectorAll("[data-of-selected]").forEach((node) => { node.textContent = candidate.title; });
    viewer.show({ ...candidate, colours: data.colours });
    curves();
    fill("parameters", candidate.rows, ["th", "td", "td"]);
    fill("regions", candidate.regions, ["td", "number", "number", "number"]);
    steps(candidate);
    coordination(candidate);
    legend();
  }

  function legend() {
    byId("legend").hidden = viewer.colouring !== "coordination";
    byId("scale").hidden = viewer.colouring !== "certainty";
    byId("surface").hidden = data.candidates[current].ids === null;
    byId("unknown").hidden = data.candidates[current].certainty !== null;
  }

  function curves() {
    const other = byId("compare").value;
    const list = [{ g: data.candidates[current].calc, colour: "#d55e00" }];
    byId("key-other").hidden = other === "" || Number(other) === current;
    if (!byId("key-other").hidden) {
      list.push({ g: data.candidates[Number(other)].calc, colour: "#009e73", dash: [6, 3] });
    }
    chart.show(list);
  }

  function fill(id, rows, kinds) {
    byId(id).replaceChildren(...rows.map((texts) => {
      const row = document.createElement("tr");
      texts.forEach((text, k) => {
        const cell = document.createElement(kinds[k] === "th" ? "th" : "td");
        if (kinds[k] === "number") cell.className = "number";
        cell.textContent = text === "R_w" ? "R" : text;
        if (text === "R_w") cell.append(Object.assign(document.createElement("sub"), { textContent: "w" }));
        row.append(cell);
      });
      return row;
    }));
  }

  function bar(name, share, text, colour) {
    const line = document.createElement("div");
    line.className = "bar";
    const [label, track, count] = ["span", "b", "span"].map((kind) => document.createElement(kind));
    label.textContent = name;
    const fill = document.createElement("i");
    fill.style.width = `${100 * share}%`;
    if (colour) fill.style.background = colour;
    track.append(fill);
    count.textContent = text;
    line.append(label, track, count);
    return line;
  }

  function steps(candidate) {
    const most = Math.max(...candidate.steps.map((step) => step[1]));
    byId("steps").replaceChildren(...candidate.steps.map(([name, rw], k) => {
      const line = bar(name, most ? rw / most : 0, rw.toFixed(4), k === 0 && name.startsWith("bound") ? "#b9c0c8" : null);
      line.classList.add("named");
      return line;
    }));
  }

  function coordination(candidate) {
    const counts = new Map(candidate.counts);
    const most = Math.max(...counts.values());
    const keys = [...counts.keys()].sort((a, b) => b - a);
    byId("coordination").replaceChildren(...keys.map(
      (k) => bar(k, counts.get(k) / most, counts.get(k), css(coordinationColour(k)))));
    byId("legend").replaceChildren(...keys.map((k) => {
      const entry = document.createElement("span");
      const dot = document.createElement("i");
      dot.style.background = css(coordinationColour(k));
      entry.append(dot, String(k));
      return entry;
    }));
  }

  function save() {
    const { pos, sym, formula, comment, file } = data.candidates[current];
    if (file) {
      Object.assign(document.createElement("a"), { href: file, download: file }).click();
      return;
    }
    const lines = pos.map((p, i) => [sym[i], ...p.map((x) => x.toFixed(4))].join(" "));
    const blob = new Blob([[pos.length, comment, ...lines, ""].join("\n")], { type: "chemical/x-xyz" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${String(current + 1).padStart(2, "0")}-${formula}.xyz`;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  function choose(name, action) {
    const buttons = document.querySelectorAll(`[data-${name}]`);
    buttons.forEach((button) => button.addEventListener("click", () => {
      buttons.forEach((other) => other.setAttribute("aria-pressed", other === button));
      action(button.dataset[name]);
    }));
  }

  rows.forEach((row, index) => {
    row.addEventListener("click", () => select(index));
    row.addEventListener("keydown", (event) => {
      const next = { ArrowDown: index + 1, ArrowUp: index - 1, Enter: index, " ": index }[event.key];
      if (next === undefined || !rows[next]) return;
      event.preventDefault();
      rows[next].focus();
      select(next);
    });
  });
  choose("style", (value) => { viewer.style = value; viewer.draw(); });
  choose("colour", (value) => { viewer.colouring = value; legend(); viewer.draw(); });
  byId("whole").addEventListener("click", () => chart.lookAtAll());
  byId("fitted").addEventListener("click", () => chart.look(chart.range));
  byId("compare").addEventListener("change", curves);
  byId("save").addEventListener("click", save);
  byId("previous").addEventListener("click", () => select((current + rows.length - 1) % rows.length));
  byId("next").addEventListener("click", () => select((current + 1) % rows.length));
  select(0);
})();
