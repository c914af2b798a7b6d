"use strict";
(() => {
  const names = ["Patient", "Status", "Verdict", "Stability", "Registration", "Expected error (mm)",
    "Levels", "Positive joints", "Findings", "Seconds", null, "Reason", "To look at, decided"];
  const numeric = new Set([3, 5, 9]);
  const folderColumn = 10;
  const page = 200;
  const all = JSON.parse(document.getElementById("rows").textContent);
  const texts = all.map((row) => row.filter((_, n) => n !== folderColumn).join(" ").toLowerCase());
  const head = document.querySelector("#patients thead tr");
  const body = document.querySelector("#patients tbody");
  const filter = document.getElementById("filter");
  const more = document.getElementById("more");
  const shown = document.getElementById("shown");
  let order = all.map((_, n) => n);
  let sorted = { column: -1, up: true };
  let limit = page;

  const cell = (row, column) => {
    const value = row[column];
    const element = document.createElement(column === 0 ? "th" : "td");
    if (column === 0) element.scope = "row";
    if (numeric.has(column)) element.className = "n";
    if (column === 0 && row[folderColumn]) {
      const link = document.createElement("a");
      link.href = encodeURIComponent(row[folderColumn]) + "/report.html";
      link.textContent = value;
      element.append(link);
    } else if (column === 3 && value !== null) {
      element.textContent = Math.round(100 * value) + " %";
    } else if (numeric.has(column) && value !== null) {
      element.textContent = value.toFixed(1);
    } else {
      element.textContent = value ?? "";
    }
    return element;
  };

  const draw = () => {
    const words = filter.value.trim().toLowerCase();
    const found = order.filter((n) => texts[n].includes(words));
    body.replaceChildren(...found.slice(0, limit).map((n) => {
      const line = document.createElement("tr");
      line.append(...names.map((name, column) => (name === null ? "" : cell(all[n], column))));
      return line;
    }));
    more.hidden = found.length <= limit;
    shown.textContent = found.length === all.length ? `${all.length} patients`
      : `${found.length} of ${all.length} patients`;
  };

  const compare = (column) => (a, b) => {
    const [x, y] = [all[a][column], all[b][column]];
    const [noX, noY] = [x === null || x === "", y === null || y === ""];
    if (noX || noY) return noX - noY;
    const sign = sorted.up ? 1 : -1;
    return sign * (numeric.has(column) ? x - y : String(x).localeCompare(String(y), "en", { numeric: true }));
  };

  const sort = (column) => {
    sorted = { column, up: sorted.column === column ? !sorted.up : true };
    order.sort(compare(column));
    [...head.children].forEach((th) => {
      const mine = Number(th.dataset.column) === column;
      th.setAttribute("aria-sort", mine ? (sorted.up ? "ascending" : "descending") : "none");
    });
    draw();
  };

  names.forEach((name, column) => {
    if (name === null) return;
    const th = document.createElement("th");
    th.scope = "col";
    th.dataset.column = column;
    th.setAttribute("aria-sort", "none");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.addEventListener("click", () => sort(column));
    th.append(button);
    head.append(th);
  });
  filter.addEventListener("input", () => { limit = page; draw(); });
  more.addEventListener("click", () => { limit += 1000; draw(); });
  draw();
})();
