"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  if (!data.examples.length) return;
  const viewers = ["true", "found"].map((part) =>
    new ClusterViewer(byId(part), (text) => { byId(`picked-${part}`).textContent = text; }));
  const chart = new PdfChart(byId("chart"), byId("readout"));

  // Turning one structure turns the other, so that they can be compared.
  viewers.forEach((viewer, k) => {
    const draw = viewer.draw.bind(viewer);
    viewer.draw = () => {
      draw();
      const other = viewers[1 - k];
      if (other.turn === viewer.turn && other.zoom === viewer.zoom) return;
      other.turn = viewer.turn;
      other.zoom = viewer.zoom;
      other.draw();
    };
  });

  function select(index) {
    const example = data.examples[index];
    viewers[0].show({ ...example.true, colours: data.colours });
    viewers[1].show({ ...example.found, colours: data.colours });
    byId("title-true").textContent = example.true.title;
    byId("title-found").textContent = example.found.title;
    chart.load(example);
    chart.show([{ g: example.calc, colour: "#d55e00" }]);
    document.querySelectorAll("[data-example]").forEach((button, k) => button.setAttribute("aria-pressed", k === index));
  }

  document.querySelectorAll("[data-example]").forEach((button, k) => button.addEventListener("click", () => select(k)));
  select(0);
})();
