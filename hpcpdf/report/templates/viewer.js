"use strict";
// A cluster of shaded spheres on a plain 2-D canvas: no WebGL, so it also runs in remote desktops without a GPU.
class ClusterViewer {
  constructor(canvas, onPick) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.onPick = onPick;
    this.style = "spheres";
    this.colouring = "coordination";
    this.sprites = new Map();
    this.picked = [];
    this.pointers = new Map();
    this.home();
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.drag(event));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => this.release(event));
    }
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.magnify(Math.exp(-0.0015 * event.deltaY));
    }, { passive: false });
    canvas.addEventListener("dblclick", () => { this.home(); this.draw(); });
    canvas.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  // cluster: { pos: [[x, y, z]], sym: [symbol], cn: [neighbours], bonds: [[i, j]], nn: Å, colours: {symbol: [r, g, b]},
  //   certainty: [0 ... 1] or null, ids: [number in the file] where these are not all atoms, else null }
  show(cluster) {
    this.cluster = cluster;
    this.picked = [];
    const n = cluster.pos.length;
    const centre = [0, 1, 2].map((k) => cluster.pos.reduce((sum, p) => sum + p[k], 0) / n);
    this.points = cluster.pos.map((p) => p.map((x, k) => x - centre[k]));
    this.reach = Math.max(...this.points.map((p) => Math.hypot(...p))) + 0.6 * cluster.nn;
    this.report();
    this.draw();
  }

  home() {
    // Tilted, so that rows of atoms do not hide behind one another.
    this.turn = multiply(rotation(0, -0.32), rotation(1, 0.42));
    this.zoom = 1;
  }

  magnify(factor) {
    this.zoom = Math.min(8, Math.max(0.4, this.zoom * factor));
    this.draw();
  }

  rotate(dx, dy) {
    this.turn = multiply(multiply(rotation(0, dy), rotation(1, dx)), this.turn);
    this.draw();
  }

  press(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
    this.moved = 0;
  }

  drag(event) {
    const last = this.pointers.get(event.pointerId);
    if (!last) return;
    const here = [event.offsetX, event.offsetY];
    const dx = here[0] - last[0];
    const dy = here[1] - last[1];
    this.moved += Math.abs(dx) + Math.abs(dy);
    if (this.pointers.size === 2) {
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
      const before = Math.hypot(last[0] - other[0], last[1] - other[1]);
      this.magnify(Math.hypot(here[0] - other[0], here[1] - other[1]) / Math.max(1, before));
    } else {
      this.rotate(0.009 * dx, 0.009 * dy);
    }
    this.pointers.set(event.pointerId, here);
  }

  release(event) {
    const was = this.pointers.delete(event.pointerId);
    if (was && event.type === "pointerup" && this.moved < 4) this.pick(event.offsetX, event.offsetY);
  }

  key(event) {
    const step = 0.12;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (moves[event.key]) this.rotate(...moves[event.key]);
    else if (event.key === "+" || event.key === "=") this.magnify(1.15);
    else if (event.key === "-") this.magnify(1 / 1.15);
    else if (event.key === "Escape") { this.picked = []; this.report(); this.draw(); }
    else return;
    event.preventDefault();
  }

  pick(x, y) {
    // The frontmost sphere under the pointer; up to two atoms are held, to read a distance.
    let found = -1;
    for (const ball of this.balls) {
      if (Math.hypot(ball.x - x, ball.y - y) <= ball.radius) found = ball.index;
    }
    if (found < 0) this.picked = [];
    else if (this.picked.includes(found)) this.picked = this.picked.filter((i) => i !== found);
    else this.picked = [...this.picked.slice(-1), found];
    this.report();
    this.draw();
  }

  report() {
    const { sym, cn, pos, certainty, ids } = this.cluster;
    const sure = (i) => (certainty ? `, ${(100 * certainty[i]).toFixed(0)} % certain` : "");
    const name = (i) => `${sym[i]}${ids ? ids[i] : i + 1} (${cn[i]} neighbours${sure(i)})`;
    let text = "";
    if (this.picked.length === 1) text = `${name(this.picked[0])}: pick a second atom to read the distance`;
    if (this.picked.length === 2) {
      const [i, j] = this.picked;
      const d = Math.hypot(...pos[i].map((x, k) => x - pos[j][k]));
      text = `${name(i)} – ${name(j)}: ${d.toFixed(3)} Å`;
    }
    this.onPick(text);
  }

  colour(index) {
    if (this.colouring === "element") return this.cluster.colours[this.cluster.sym[index]];
    if (this.colouring === "certainty") return certaintyColour(this.cluster.certainty ? this.cluster.certainty[index] : null);
    return coordinationColour(this.cluster.cn[index]);
  }

  draw() {
    if (!this.points) return;
    const { canvas, context } = this;
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!width || !height) return;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const scale = (0.46 * Math.min(width, height) * this.zoom) / this.reach;
    const distance = 4.5 * this.reach;
    const size = (this.style === "spheres" ? 0.5 : 0.24) * this.cluster.nn;
    const place = this.points.map((p) => {
      const [x, y, z] = apply(this.turn, p);
      const near = distance / (distance - z);
      return { x: width / 2 + scale * near * x, y: height / 2 + scale * near * y, z, near };
    });
    this.balls = place.map((p, index) => ({ index, x: p.x, y: p.y, z: p.z, radius: scale * p.near * size }));
    const items = [...this.balls];
    if (this.style === "bonds") this.halves(place, items, scale);
    items.sort((a, b) => a.z - b.z);
    for (const item of items) {
      if (item.radius) this.ball(item);
      else this.stick(item);
    }
    this.balls.sort((a, b) => a.z - b.z);
    if (this.picked.length === 2) this.ruler(place);
    this.scaleBar(scale, height);
  }

  halves(place, items, scale) {
    for (const [i, j] of this.cluster.bonds) {
      const a = place[i];
      const b = place[j];
      const middle = { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
      const width = 0.11 * this.cluster.nn * scale * (a.near + b.near) * 0.5;
      items.push({ from: a, to: middle, z: 0.75 * a.z + 0.25 * b.z, width, index: i });
      items.push({ from: b, to: middle, z: 0.75 * b.z + 0.25 * a.z, width, index: j });
    }
  }

  fog(z) {
    return Math.round(7 * Math.min(1, Math.max(0, (this.reach - z) / (2 * this.reach))));
  }

  ball({ index, x, y, z, radius }) {
    const sprite = this.sprite(this.colour(index), this.fog(z));
    this.context.drawImage(sprite, x - radius, y - radius, 2 * radius, 2 * radius);
    if (this.picked.includes(index)) {
      this.context.strokeStyle = "#d55e00";
      this.context.lineWidth = 3;
      this.context.beginPath();
      this.context.arc(x, y, radius, 0, 2 * Math.PI);
      this.context.stroke();
    }
  }

  stick({ from, to, z, width, index }) {
    const { context } = this;
    const base = mix(this.colour(index), [255, 255, 255], (0.6 * this.fog(z)) / 7);
    for (const [part, shade] of [[1, -0.45], [0.72, -0.12], [0.3, 0.3]]) {
      context.strokeStyle = css(shade < 0 ? mix(base, [20, 24, 34], -shade) : mix(base, [255, 255, 255], shade));
      context.lineWidth = width * part;
      context.beginPath();
      context.moveTo(from.x, from.y);
      context.lineTo(to.x, to.y);
      context.stroke();
    }
  }

  sprite(colour, fog) {
    const key = `${colour}/${fog}`;
    if (this.sprites.has(key)) return this.sprites.get(key);
    const side = 128;
    const sprite = document.createElement("canvas");
    sprite.width = sprite.height = side;
    const pen = sprite.getContext("2d");
    const base = mix(colour, [255, 255, 255], (0.6 * fog) / 7);
    const light = pen.createRadialGradient(0.36 * side, 0.32 * side, 0, 0.47 * side, 0.46 * side, 0.55 * side);
    light.addColorStop(0, css(mix(base, [255, 255, 255], 0.75)));
    light.addColorStop(0.28, css(mix(base, [255, 255, 255], 0.2)));
    light.addColorStop(0.65, css(base));
    light.addColorStop(1, css(mix(base, [20, 24, 34], 0.55 - 0.04 * fog)));
    pen.fillStyle = light;
    pen.beginPath();
    pen.arc(side / 2, side / 2, side / 2 - 1.5, 0, 2 * Math.PI);
    pen.fill();
    pen.strokeStyle = css(mix(base, [20, 24, 34], 0.6 - 0.05 * fog));
    pen.lineWidth = 1.6;
    pen.stroke();
    this.sprites.set(key, sprite);
    return sprite;
  }

  ruler(place) {
    const [a, b] = this.picked.map((i) => place[i]);
    this.context.setLineDash([5, 4]);
    this.context.strokeStyle = "#d55e00";
    this.context.lineWidth = 2;
    this.context.beginPath();
    this.context.moveTo(a.x, a.y);
    this.context.lineTo(b.x, b.y);
    this.context.stroke();
    this.context.setLineDash([]);
  }

  scaleBar(scale, height) {
    const length = [10, 5, 2, 1, 0.5, 0.2].find((one) => one <= this.reach) ?? 0.1;
    const { context } = this;
    context.fillStyle = "#5b6470";
    context.fillRect(14, height - 16, scale * length, 2);
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "left";
    context.fillText(`${length} Å`, 14, height - 22);
  }
}

// 12 neighbours: inside; fewer: facets, edges, corners. The ramp is viridis, which colour-blind readers can follow.
function coordinationColour(neighbours) {
  const ramp = [[68, 1, 84], [68, 1, 84], [72, 35, 116], [64, 67, 135], [52, 94, 141], [41, 120, 142], [32, 144, 140],
    [34, 167, 132], [68, 190, 112], [121, 209, 81], [189, 222, 38], [240, 229, 60]];
  return neighbours >= 12 ? [186, 192, 200] : ramp[neighbours];
}

// From orange (the site may well be empty) over a pale middle to blue (occupied): the ends differ for colour-blind readers.
function certaintyColour(share) {
  if (share === null) return [205, 209, 214];
  const [low, middle, high] = [[213, 94, 0], [247, 226, 180], [0, 114, 178]];
  return share < 0.5 ? mix(low, middle, 2 * share) : mix(middle, high, 2 * share - 1);
}

function mix(a, b, share) {
  return a.map((x, k) => Math.round(x + (b[k] - x) * share));
}

function css(colour) {
  return `rgb(${colour.join(",")})`;
}

function rotation(axis, angle) {
  const c = Math.cos(angle);
  const s = Math.sin(angle);
  return axis === 0 ? [[1, 0, 0], [0, c, -s], [0, s, c]] : [[c, 0, s], [0, 1, 0], [-s, 0, c]];
}

function apply(matrix, p) {
  return matrix.map((row) => row[0] * p[0] + row[1] * p[1] + row[2] * p[2]);
}

function multiply(a, b) {
  return a.map((row) => [0, 1, 2].map((k) => row[0] * b[0][k] + row[1] * b[1][k] + row[2] * b[2][k]));
}
