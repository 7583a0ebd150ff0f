// Tables as files: what is selected, or what a view lists, as CSV or Parquet.

const exportButtons = () => [
  el('button', {type: 'button', class: 'quiet', 'data-export': 'csv',
    onclick: () => exportSamples('csv')}, 'CSV'),
  el('button', {type: 'button', class: 'quiet', 'data-export': 'parquet',
    onclick: () => exportSamples('parquet')}, 'Parquet'),
];

/** All columns of the samples in view, in the order of the list. */
function exportSamples(kind, rows = listing.rows, name = 'samples') {
  const table = {
    names: [...COLUMNS.keys()],
    columns: [...COLUMNS.values()].map((column) => columnForFile(column, rows)),
    nRows: rows.length,
  };
  if (kind === 'csv') save(`${name}.csv`, 'text/csv', csvText(table));
  else save(`${name}.parquet`, 'application/vnd.apache.parquet', parquetBytes(table));
}

/** Values of a column: numbers as a Float64Array (NaN missing), texts as an array (null missing). */
function columnForFile(column, rows) {
  if (column.role !== 'number') return Array.from(rows, (row) => valueAt(column.name, row));
  const values = numbersOf(column.name);
  return Float64Array.from(rows, (row) => values[row]);
}

/** A small table that a view lists: names, and rows of plain values. */
function exportList(name, names, rows) {
  save(`${name}.csv`, 'text/csv', csvText({
    names, nRows: rows.length, columns: names.map((_, i) => rows.map((row) => row[i])),
  }));
}

function csvText({names, columns, nRows}) {
  const lines = [names.map(csvField).join(',')];
  for (let row = 0; row < nRows; row++) {
    lines.push(columns.map((column) => csvField(column[row])).join(','));
  }
  return `${lines.join('\r\n')}\r\n`;
}

/** RFC 4180. A text that a spreadsheet would take for a formula gets an apostrophe in front. */
function csvField(value) {
  if (isMissing(value)) return '';
  if (typeof value === 'number') return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
}

function save(name, type, content) {
  const address = URL.createObjectURL(new Blob([content], {type}));
  const link = el('a', {href: address, download: name});
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}
