"use strict";
// Sorting: a button in each column's heading; what has no value stays last.
const compare = (one, other) => {
  const numbers = [Number(one), Number(other)];
  return numbers.some(Number.isNaN) ? one.localeCompare(other) : numbers[0] - numbers[1];
};
const sort = (heading) => {
  const table = heading.closest("table");
  const down = heading.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.querySelectorAll("th")) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = (row) => row.cells[heading.cellIndex].dataset.value;
  const rows = [...table.tBodies[0].rows].sort((one, other) => {
    const [left, right] = [key(one), key(other)];
    if (left === undefined || right === undefined)
      return (left === undefined) - (right === undefined);
    return down ? compare(right, left) : compare(left, right);
  });
  table.tBodies[0].append(...rows);
};
for (const button of document.querySelectorAll("th button"))
  button.addEventListener("click", () => sort(button.closest("th")));
// The value under the pointer, a finger or the keyboard's focus, below its chart.
for (const figure of document.querySelectorAll("figure"))
  for (const event of ["pointerover", "focusin"])
    figure.addEventListener(event, ({ target }) => {
      const point = target.closest("a.dot");
      if (point) figure.querySelector("output").textContent = point.getAttribute("aria-label");
    });
// A link to a run opens it.
const open = () => {
  const target = document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
};
addEventListener("hashchange", open);
open();
