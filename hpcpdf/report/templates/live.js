"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const known = (value) => typeof value === "number" && Number.isFinite(value);
  const report = (name) => `${encodeURIComponent(name)}/report.html`;
  let version = -1;

  function cell(text, kind, tag = "td") {
    const made = document.createElement(tag);
    made.textContent = text;
    if (kind) made.className = kind;
    return made;
  }

  function number(value, digits, error) {
    if (!known(value)) return "";
    return value.toFixed(digits) + (known(error) ? ` ± ${error.toFixed(digits)}` : "");
  }

  function line(row, column) {
    const made = document.createElement("tr"), head = cell("", "", "th"), link = document.createElement("a");
    link.href = report(row.name);
    link.textContent = row.name;
    head.append(link);
    const tag = cell(row.verdict, `tag ${row.verdict}`, "span"), verdict = cell("");
    verdict.append(tag);
    const sizes = known(row.n_atoms_low) && row.n_atoms_low !== row.n_atoms_high ? ` (${row.n_atoms_low}–${row.n_atoms_high})` : "";
    made.append(head, cell(known(row[column]) ? String(row[column]) : "", "number"), cell(number(row.rw, 4)), verdict,
      cell(row.family), cell(`${row.n_atoms}${sizes}`, "number"), cell(number(row.diameter_A, 1), "number"),
      cell(number(row.bond_A, 5, row.bond_error_A), "number"), cell(number(row.biso_A2, 4, row.biso_error_A2), "number"));
    return made;
  }

  const STATES = { arriving: "arriving", waiting: "waits for its turn", solving: "is solved now", failed: "not solved" };
  function show(state) {
    byId("solved").hidden = !state.rows.length;
    byId("column").textContent = state.label;
    drawTrends(byId("trends"), state, (name) => { location.href = report(name); });
    byId("rows").replaceChildren(...state.rows.map((row) => line(row, state.column)));
    const others = state.files.map((file) => {
      const made = document.createElement("tr");
      const text = file.state === "solved" ? "solved; no longer in the folder" : STATES[file.state];
      made.append(cell(file.name, "", "th"), cell(text), cell(file.message));
      return made;
    });
    byId("files").replaceChildren(...others);
    byId("waiting").hidden = !others.length;
    const count = (name) => state.files.filter((file) => file.state === name).length;
    const open = count("arriving") + count("waiting") + count("solving"), failed = count("failed");
    byId("status").textContent = `${state.rows.length} solved` + (open ? `, ${open} to come` : "") + (failed ? `, ${failed} not solved` : "");
    document.body.dataset.solved = state.rows.length;
  }

  async function look() {
    try {
      const answer = await fetch(`state?since=${version}`);
      if (!answer.ok) throw new Error(answer.status);
      const state = await answer.json();
      if (state.rows) show(state);
      version = state.version;
    } catch {
      byId("status").textContent = "hpcpdf serve does not answer: has it been stopped?";
      version = -1;
    }
    setTimeout(look, 1000);
  }

  async function send(files) {
    for (const file of files) {
      let text;
      if (file.size > LARGEST) {
        text = `${file.name}: larger than ${LARGEST / 1e6} MB`;
      } else {
        try {
          const answer = await fetch(`drop?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file });
          const said = await answer.json();
          text = said.error ? said.error : `${said.name}: added`;
        } catch {
          text = `${file.name}: not added: it cannot be read, or hpcpdf serve does not answer`;
        }
      }
      byId("said").prepend(cell(text, "", "li"));
      while (byId("said").children.length > 5) byId("said").lastChild.remove();
    }
  }

  const zone = byId("drop");
  for (const name of ["dragover", "dragenter"]) {
    document.addEventListener(name, (event) => { event.preventDefault(); zone.classList.add("over"); });
  }
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) zone.classList.remove("over"); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    send([...event.dataTransfer.files]);
  });
  byId("pick").addEventListener("change", (event) => { send([...event.target.files]); event.target.value = ""; });
  document.querySelector(".link").addEventListener("keydown", (event) => { if (event.key === "Enter") byId("pick").click(); });
  look();
})();
