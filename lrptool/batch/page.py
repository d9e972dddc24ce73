"""The page of the contact sheet; ``@@name@@`` is filled in."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>@@title@@</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; margin: 1.5rem; color: #1c1c1e; background: #fafaf9 }
table { border-collapse: collapse; width: 100% }
td, th { padding: .3rem .6rem; text-align: left; border-bottom: 1px solid #dadade; overflow-wrap: anywhere }
th { position: sticky; top: 0; background: #fafaf9 }
th button { font: inherit; font-weight: 600; border: 0; background: none; padding: 0; cursor: pointer }
td:nth-child(5), td:nth-child(6) { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
img { height: 110px; max-width: 220px; object-fit: contain; display: block }
.failed td { color: #a1260d }
nav { margin: .8rem 0; display: flex; gap: .8rem; align-items: center; flex-wrap: wrap }
nav input { font: inherit; padding: .2rem .4rem }
</style>
</head>
<body>
<h1>@@title@@</h1>
<nav><button id="back">Back</button><span id="place"></span><button id="on">On</button>
<input id="find" type="search" placeholder="name or label" aria-label="name or label"></nav>
<table>
<thead><tr><th>input</th><th>relevance</th><th><button data-key="0">name</button></th>
<th><button data-key="3">label</button></th><th><button data-key="4">score</button></th>
<th><button data-key="5">probability</button></th></tr></thead>
<tbody id="rows">
@@rows@@
</tbody>
</table>
<noscript><p>Without scripts the first @@shown@@ entries are shown; manifest.jsonl has all of them.</p></noscript>
<script type="application/json" id="data">@@data@@</script>
<script>
"use strict";
const all = JSON.parse(document.getElementById("data").textContent);
const size = @@shown@@, rows = document.getElementById("rows");
let shown = all.map((_, k) => k), page = 0, key = null, sign = 1;
const compare = (a, b) => {
  const x = all[a][key], y = all[b][key];
  if (x === null || y === null || x === y) return (x === null) - (y === null) || a - b;
  return sign * (x < y ? -1 : 1);
};
function cell(row, text) { row.insertCell().textContent = text; }
function picture(row, link, target) {
  const anchor = document.createElement("a"), image = document.createElement("img");
  anchor.href = target; image.loading = "lazy"; image.alt = ""; image.src = link;
  anchor.append(image); row.insertCell().append(anchor);
}
function draw() {
  const last = Math.max(0, Math.ceil(shown.length / size) - 1);
  page = Math.min(Math.max(page, 0), last);
  rows.textContent = "";
  for (const k of shown.slice(page * size, (page + 1) * size)) {
    const [name, thumbnail, heatmap, label, score, probability, error] = all[k], row = rows.insertRow();
    if (error) {
      row.className = "failed"; cell(row, error); row.cells[0].colSpan = 2; cell(row, name);
      cell(row, ""); row.cells[2].colSpan = 3;
      continue;
    }
    picture(row, thumbnail, heatmap); picture(row, heatmap, heatmap);
    cell(row, name); cell(row, label); cell(row, Number(score.toPrecision(4)));
    cell(row, probability === null ? "" : (100 * probability).toFixed(1) + " %");
  }
  document.getElementById("place").textContent = `page ${page + 1} of ${last + 1}, ${shown.length} entries`;
}
document.getElementById("back").onclick = () => { page -= 1; draw(); };
document.getElementById("on").onclick = () => { page += 1; draw(); };
document.getElementById("find").oninput = (event) => {
  const word = event.target.value.toLowerCase();
  shown = [];
  all.forEach((entry, k) => { if ((entry[0] + " " + entry[3]).toLowerCase().includes(word)) shown.push(k); });
  if (key !== null) shown.sort(compare);
  page = 0; draw();
};
for (const button of document.querySelectorAll("th button")) button.onclick = () => {
  const chosen = Number(button.dataset.key);
  sign = chosen === key ? -sign : (chosen >= 4 ? -1 : 1);
  key = chosen; shown.sort(compare); page = 0; draw();
};
draw();
</script>
</body>
</html>
"""
