"use strict";
// Observed circles, calculated lines and the difference below its own zero line; drag to zoom, double-click to reset.
class PdfChart {
  constructor(canvas, readout) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.readout = readout;
    this.margin = { left: 52, right: 14, top: 12, bottom: 40 };
    this.curves = [];
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.anchor = event.offsetX;
    });
    canvas.addEventListener("pointermove", (event) => { this.cursor = event.offsetX; this.draw(); });
    canvas.addEventListener("pointerup", (event) => this.finish(event.offsetX));
    canvas.addEventListener("pointerleave", () => { this.cursor = null; this.anchor = null; this.draw(); });
    canvas.addEventListener("dblclick", () => this.look(this.range));
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  // data: { r, obs } in the fitted range, { fullR, fullG } all that was measured; Å and Å⁻².
  load(data) {
    this.data = data;
    this.curves = [];
    this.range = [data.r[0], data.r[data.r.length - 1]];
    this.view = this.range;
  }

  // curves: [{ label, g, colour, dash }]; the first one gives the difference.
  show(curves) {
    this.curves = curves;
    this.draw();
  }

  look(view) {
    this.view = view;
    this.draw();
  }

  lookAtAll() {
    const { fullR } = this.data;
    this.look([fullR[0], fullR[fullR.length - 1]]);
  }

  finish(x) {
    if (this.anchor !== null && this.anchor !== undefined && Math.abs(x - this.anchor) > 8) {
      const ends = [this.toR(this.anchor), this.toR(x)].sort((a, b) => a - b);
      const low = Math.max(this.view[0], ends[0]);
      const high = Math.min(this.view[1], ends[1]);
      if (high - low > 0.15) this.view = [low, high];
    }
    this.anchor = null;
    this.draw();
  }

  toX(r) {
    return this.margin.left + ((r - this.view[0]) / (this.view[1] - this.view[0])) * this.plotWidth;
  }

  toR(x) {
    return this.view[0] + ((x - this.margin.left) / this.plotWidth) * (this.view[1] - this.view[0]);
  }

  toY(g) {
    return this.margin.top + ((this.limits[1] - g) / (this.limits[1] - this.limits[0])) * this.plotHeight;
  }

  scaleUp() {
    const { r, obs, fullR, fullG } = this.data;
    let [low, high, below, above] = [0, 0, 0, 0];
    const main = this.curves.length ? this.curves[0].g : null;
    r.forEach((x, i) => {
      if (x < this.view[0] || x > this.view[1]) return;
      for (const value of [obs[i], ...this.curves.map((curve) => curve.g[i])]) {
        low = Math.min(low, value);
        high = Math.max(high, value);
      }
      if (main) {
        below = Math.min(below, obs[i] - main[i]);
        above = Math.max(above, obs[i] - main[i]);
      }
    });
    fullR.forEach((x, i) => {
      // Below the fit, noise near r = 0 can be many times the signal; it must not flatten the plot.
      if (x < Math.max(this.view[0], this.range[0]) || x > this.view[1]) return;
      low = Math.min(low, fullG[i]);
      high = Math.max(high, fullG[i]);
    });
    const gap = 0.05 * (high - low || 1);
    this.offset = low - gap - Math.max(above, gap);
    this.limits = [this.offset + Math.min(below, -gap) - gap, high + 1.5 * gap];
  }

  draw() {
    const { canvas, context, margin } = this;
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!this.data || !width || !height) return;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    this.plotWidth = width - margin.left - margin.right;
    this.plotHeight = height - margin.top - margin.bottom;
    this.scaleUp();
    this.axes();
    context.save();
    context.beginPath();
    context.rect(margin.left, margin.top, this.plotWidth, this.plotHeight);
    context.clip();
    this.circles(this.data.fullR, this.data.fullG, "#b9bfc7", (x) => x < this.range[0] || x > this.range[1]);
    this.circles(this.data.r, this.data.obs, "#404040", () => true);
    [...this.curves].reverse().forEach((curve) => this.line(curve.g, curve.colour, 1.8, curve.dash || []));
    if (this.curves.length) {
      const g = this.curves[0].g;
      this.rule(this.offset, "#0072b2", [5, 4]);
      this.line(this.data.obs.map((value, i) => value - g[i] + this.offset), "#0072b2", 1.2, []);
    }
    this.selection();
    context.restore();
    this.read();
  }

  axes() {
    const { context, margin } = this;
    const bottom = margin.top + this.plotHeight;
    context.strokeStyle = "#5b6470";
    context.fillStyle = "#3a424d";
    context.lineWidth = 1;
    context.font = "12px system-ui, sans-serif";
    context.beginPath();
    context.moveTo(margin.left, margin.top);
    context.lineTo(margin.left, bottom);
    context.lineTo(margin.left + this.plotWidth, bottom);
    context.stroke();
    context.textAlign = "center";
    for (const r of ticks(this.view[0], this.view[1], this.plotWidth / 60)) {
      this.tick(this.toX(r), bottom, 0, 5);
      context.fillText(label(r), this.toX(r), bottom + 18);
    }
    context.fillText("r (Å)", margin.left + this.plotWidth / 2, bottom + 35);
    context.textAlign = "right";
    for (const g of ticks(this.limits[0], this.limits[1], this.plotHeight / 50)) {
      this.tick(margin.left, this.toY(g), -5, 0);
      context.fillText(label(g), margin.left - 8, this.toY(g) + 4);
    }
    context.save();
    context.translate(13, margin.top + this.plotHeight / 2);
    context.rotate(-Math.PI / 2);
    context.textAlign = "center";
    context.fillText("G (Å⁻²)", 0, 0);
    context.restore();
    this.rule(0, "#d4d8dd", []);
  }

  tick(x, y, dx, dy) {
    this.context.beginPath();
    this.context.moveTo(x, y);
    this.context.lineTo(x + dx, y + dy);
    this.context.stroke();
  }

  rule(g, colour, dash) {
    const { context } = this;
    context.strokeStyle = colour;
    context.lineWidth = 1;
    context.setLineDash(dash);
    context.beginPath();
    context.moveTo(this.margin.left, this.toY(g));
    context.lineTo(this.margin.left + this.plotWidth, this.toY(g));
    context.stroke();
    context.setLineDash([]);
  }

  circles(r, g, colour, wanted) {
    // Only as many circles as can be told apart; zooming in shows them all.
    const spacing = (this.plotWidth * (r[1] - r[0])) / (this.view[1] - this.view[0]);
    const every = Math.max(1, Math.ceil(3.4 / spacing));
    const { context } = this;
    context.strokeStyle = colour;
    context.lineWidth = 1;
    for (let i = 0; i < r.length; i += every) {
      if (r[i] < this.view[0] || r[i] > this.view[1] || !wanted(r[i])) continue;
      context.beginPath();
      context.arc(this.toX(r[i]), this.toY(g[i]), 2.6, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  line(g, colour, width, dash) {
    const { context } = this;
    const { r } = this.data;
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.lineJoin = "round";
    context.setLineDash(dash);
    context.beginPath();
    r.forEach((x, i) => context.lineTo(this.toX(x), this.toY(g[i])));
    context.stroke();
    context.setLineDash([]);
  }

  selection() {
    const { context, margin } = this;
    if (this.cursor === null || this.cursor === undefined) return;
    if (this.anchor !== null && this.anchor !== undefined) {
      context.fillStyle = "rgba(0,114,178,0.12)";
      context.fillRect(this.anchor, margin.top, this.cursor - this.anchor, this.plotHeight);
    }
    context.strokeStyle = "#9aa3ad";
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(this.cursor, margin.top);
    context.lineTo(this.cursor, margin.top + this.plotHeight);
    context.stroke();
  }

  read() {
    if (this.cursor === null || this.cursor === undefined || !this.curves.length) {
      this.readout.textContent = "";
      return;
    }
    const { r, obs } = this.data;
    const at = this.toR(this.cursor);
    let i = Math.round(((at - r[0]) / (r[r.length - 1] - r[0])) * (r.length - 1));
    i = Math.min(r.length - 1, Math.max(0, i));
    while (i > 0 && Math.abs(r[i - 1] - at) < Math.abs(r[i] - at)) i -= 1;
    while (i < r.length - 1 && Math.abs(r[i + 1] - at) < Math.abs(r[i] - at)) i += 1;
    const calc = this.curves[0].g[i];
    const say = (value) => value.toFixed(3).replace("-", "−");
    this.readout.textContent =
      `r = ${r[i].toFixed(2)} Å · observed ${say(obs[i])} · calculated ${say(calc)} · difference ${say(obs[i] - calc)}`;
  }
}

function ticks(low, high, wanted) {
  const rough = (high - low) / Math.max(2, wanted);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= rough);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k += 1) found.push(k * step);
  return found;
}

function label(value) {
  return String(Number(value.toFixed(6))).replace("-", "−");
}
