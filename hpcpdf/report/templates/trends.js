"use strict";
// Trends over a series: one small drawing for each quantity, with error bars, names on hover and reports on click.
const drawTrends = (() => {
  const WIDTH = 420, HEIGHT = 230, LEFT = 58, RIGHT = 12, TOP = 12, BOTTOM = 40;
  const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];
  const known = (value) => typeof value === "number" && Number.isFinite(value);

  function node(name, attributes, text) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function ticks(low, high, count) {
    const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= rough * 0.999);
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step);
    const digits = Math.max(0, Math.min(8, -Math.floor(Math.log10(step) + 1e-9)));
    return found.map((value) => [value, value.toFixed(digits)]);
  }

  function span(values, share) {
    let low = Math.min(...values), high = Math.max(...values);
    const pad = high > low ? share * (high - low) : Math.max(1e-9, 0.05 * Math.abs(high));
    return [low - pad, high + pad];
  }

  function panel(title, curves, xs, rows, xLabel, open, fixed) {
    const ys = curves.flatMap((curve) => curve.points.flatMap((p) => [p.y, p.low, p.high].filter(known)));
    if (!ys.length) return null;
    const [x0, x1] = span(xs, 0.03);
    let [y0, y1] = span(ys, 0.08);
    if (fixed) [y0, y1] = fixed;
    else if (Math.min(...ys) >= 0) y0 = Math.max(0, y0);
    const x = (value) => LEFT + (WIDTH - LEFT - RIGHT) * (value - x0) / (x1 - x0);
    const y = (value) => HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (value - y0) / (y1 - y0);
    const svg = node("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title });
    for (const [value, text] of ticks(y0, y1, 4)) {
      svg.append(node("path", { d: `M${LEFT} ${y(value).toFixed(1)}H${WIDTH - RIGHT}`, class: "grid" }));
      svg.append(node("text", { x: LEFT - 6, y: (y(value) + 4).toFixed(1), "text-anchor": "end" }, text));
    }
    for (const [value, text] of ticks(x0, x1, 5)) {
      svg.append(node("text", { x: x(value).toFixed(1), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, text));
    }
    svg.append(node("path", { d: `M${LEFT} ${HEIGHT - BOTTOM}H${WIDTH - RIGHT}`, class: "axis" }));
    svg.append(node("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, xLabel));
    curves.forEach((curve, k) => {
      const colour = COLOURS[k % COLOURS.length];
      const seen = curve.points.map((p, i) => ({ ...p, i })).filter((p) => known(p.y));
      const line = seen.map((p) => `${x(xs[p.i]).toFixed(1)} ${y(p.y).toFixed(1)}`).join("L");
      svg.append(node("path", { d: `M${line}`, fill: "none", stroke: colour, "stroke-opacity": 0.35 }));
      for (const p of seen) {
        if (known(p.low) && known(p.high)) {
          const bar = `M${x(xs[p.i]).toFixed(1)} ${y(p.low).toFixed(1)}V${y(p.high).toFixed(1)}`;
          svg.append(node("path", { d: bar, stroke: colour, "stroke-width": 1.4 }));
        }
        const dot = node("circle", { cx: x(xs[p.i]).toFixed(1), cy: y(p.y).toFixed(1), r: 3.2, style: `fill:${colour}` });
        dot.append(node("title", {}, `${rows[p.i].name}: ${p.text}`));
        if (open) { dot.style.cursor = "pointer"; dot.addEventListener("click", () => open(rows[p.i].name)); }
        svg.append(dot);
      }
    });
    const figure = document.createElement("figure");
    figure.className = "drawing";
    const head = document.createElement("h3");
    head.textContent = title;
    figure.append(head, svg);
    if (curves.length > 1 || curves[0].name) {
      const keys = document.createElement("div");
      keys.className = "keys";
      curves.forEach((curve, k) => {
        const key = document.createElement("span"), mark = document.createElement("i");
        mark.style.borderColor = COLOURS[k % COLOURS.length];
        key.append(mark, curve.name);
        keys.append(key);
      });
      figure.append(keys);
    }
    return figure;
  }

  // data: {column, label, motifs, rows}; open(name) is called for a clicked point.
  return (root, data, open) => {
    const rows = data.rows.filter((row) => known(row[data.column]));
    const xs = rows.map((row) => row[data.column]);
    const curve = (value, low, high, digits) => ({
      points: rows.map((row) => {
        const bar = [row[low], row[high]];
        const text = known(row[value]) ? row[value].toFixed(digits) : "";
        return { y: row[value], low: bar[0], high: bar[1], text };
      }),
    });
    const withError = (value, error, digits) => ({
      points: rows.map((row) => {
        const known_ = known(row[error]) ? row[error] : NaN;
        const text = known(row[value]) ? `${row[value].toFixed(digits)}${known_ ? ` ± ${known_.toFixed(digits)}` : ""}` : "";
        return { y: row[value], low: row[value] - known_, high: row[value] + known_, text };
      }),
    });
    const shares = data.motifs.map((family) => ({ ...curve(`p_${family}`, "", "", 2), name: family }));
    const mixed = Object.keys(Object.assign({}, ...rows)).filter((key) => /^weight_.*(?<!_error)$/.test(key)).map((key) => key.slice(7));
    const weights = mixed.map((family) => ({ ...withError(`weight_${family}`, `weight_${family}_error`, 3), name: family }));
    const panels = [
      ["atoms", [curve("n_atoms", "n_atoms_low", "n_atoms_high", 0)]],
      ["largest distance (Å)", [curve("diameter_A", "diameter_low_A", "diameter_high_A", 1)]],
      ["mean bond length (Å)", [withError("bond_A", "bond_error_A", 5)]],
      ["Biso (Å²)", [withError("biso_A2", "biso_error_A2", 4)]],
      ["R_w", [curve("rw", "", "", 4)]],
      ["probability of the motif", shares, [-0.04, 1.04]],
      ["sizes: diameter over atoms (Å)", [withError("size_A", "size_error_A", 1)]],
      ["sizes: share of the atoms", weights, [-0.04, 1.04]],
    ];
    root.replaceChildren();
    if (!rows.length) return;
    for (const [title, curves, fixed] of panels) {
      const made = curves.length ? panel(title, curves, xs, rows, data.label, open, fixed) : null;
      if (made) root.append(made);
    }
  };
})();
