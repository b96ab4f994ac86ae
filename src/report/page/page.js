"use strict";
// Sorting and filtering; the page is whole without it.
for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("thead th").forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.querySelectorAll("thead th")) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = table.tBodies[0];
      const key = (row) => row.cells[column];
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        // What has no number stands last, whichever way is sorted.
        const [m, n] = [x.dataset.sort, y.dataset.sort];
        if (m !== undefined && n !== undefined) return (down ? -1 : 1) * (Number(m) - Number(n));
        if (m !== undefined || n !== undefined) return m !== undefined ? -1 : 1;
        return (down ? -1 : 1) * x.textContent.localeCompare(y.textContent);
      });
      body.append(...rows);
    });
  });
}
const filter = document.getElementById("filter");
const show = () => {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = [...document.querySelector("#comparison tbody").rows];
  let count = 0;
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    if (!row.hidden) count += 1;
  }
  document.getElementById("shown").textContent = `${count} of ${rows.length}`;
};
filter.addEventListener("input", show);
show();
