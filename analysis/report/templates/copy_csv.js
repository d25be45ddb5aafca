"use strict";
function csvText(cell) {
  const copy = cell.cloneNode(true);
  for (const sign of copy.querySelectorAll("sup")) sign.textContent = " " + sign.textContent.replace(/[\d ]/g, "");
  for (const part of copy.querySelectorAll("small")) cell.tagName === "TH" ? part.remove() : part.prepend(" ");
  const text = copy.textContent.trim().replace(/\s+/g, " ").replaceAll("\u2212", "-").replace(/^[\u25cf\u25cb] ?|^\u00b1 /, "");
  if (/^[=+\-@](?!\d)/.test(text)) return "'" + text; // a spreadsheet would run it as a formula
  return /^-?\d{1,3}(,\d{3})+$/.test(text) ? text.replaceAll(",", "") : text;
}
function csvLine(row) {
  const texts = [...row.cells].flatMap(cell => [csvText(cell), ...Array(cell.colSpan - 1).fill(csvText(cell) + " \u00b1")]);
  return texts.map(text => /[",\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text).join(",");
}
for (const table of document.querySelectorAll("table")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy as CSV";
  button.addEventListener("click", () => {
    const area = document.createElement("textarea");
    area.value = [...table.rows].map(csvLine).join("\n") + "\n";
    button.after(area);
    area.select();
    button.textContent = document.execCommand("copy") ? "Copied" : "The browser does not allow copying";
    area.remove();
  });
  (table.closest(".scroll") || table).after(button);
}
