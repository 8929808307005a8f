"use strict";
document.querySelectorAll("table.sortable").forEach((table) => {
  const body = table.tBodies[0];
  const value = (row, at, numeric) => {
    const cell = row.cells[at].cloneNode(true);
    cell.querySelectorAll("small").forEach((each) => each.remove());
    const text = cell.textContent.trim();
    if (!numeric) return text;
    const number = parseFloat(text.replace(/\u2212/g, "-").replace(/[,\s]/g, "").replace(/^[<>≤≥±]/, ""));
    return Number.isNaN(number) ? text : number;
  };
  const sort = (head, at) => {
    const down = head.getAttribute("aria-sort") === "ascending";
    const numeric = head.classList.contains("num");
    const known = [...body.rows].map((row) => [value(row, at, numeric), row]);
    const last = (each) => numeric && typeof each !== "number";
    known.sort(([a], [b]) => {
      if (last(a) || last(b)) return last(a) - last(b);
      return (numeric ? a - b : String(a).localeCompare(String(b), "en")) * (down ? -1 : 1);
    });
    known.forEach(([, row]) => body.append(row));
    [...head.parentNode.cells].forEach((each) => each.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
  };
  [...table.tHead.rows[0].cells].forEach((head, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(head, at));
  });
});
