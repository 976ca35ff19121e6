"use strict";
// The way from A to B: one slider moves the structures of all models, and turning one turns the others.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  if (!data.walk.length) return;
  const byId = (id) => document.getElementById(id);
  const viewers = data.walk.map((_, k) =>
    new ClusterViewer(byId(`walk-${k}`), (text) => { byId(`walk-picked-${k}`).textContent = text; }));
  viewers.forEach((viewer) => {
    const draw = viewer.draw.bind(viewer);
    viewer.draw = () => {
      draw();
      for (const other of viewers) {
        if (other.turn === viewer.turn && other.zoom === viewer.zoom) continue;
        other.turn = viewer.turn;
        other.zoom = viewer.zoom;
        other.draw();
      }
    };
  });

  function show(index) {
    data.walk.forEach((way, k) => {
      const step = way.steps[index];
      viewers[k].show({ ...step, colours: data.colours });
      const rw = step.rw === null || step.rw === undefined ? "–" : step.rw.toFixed(3);
      const low = document.createElement("sub");
      low.textContent = "w";
      byId(`walk-title-${k}`).replaceChildren(
        `${step.title}, ${step.valid ? "✓ valid" : "✗ invalid"}, R`, low, ` to the nearest real cluster ${rw}`);
    });
    byId("walk-fraction").textContent = data.walk[0].steps[index].fraction.toFixed(2);
  }

  const slider = byId("walk-slider");
  slider.addEventListener("input", () => show(Number(slider.value)));
  show(Number(slider.value));
})();
