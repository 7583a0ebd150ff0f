// The table of samples: sorted, filtered, a page at a time; a click selects.

const PAGE_ROWS = 50;
const TABLE_COLUMNS = ['id', 'profile_name', 'hypothesis', 'word_error_rate',
  'character_error_rate', 'ctc_loss'];
const HEADINGS = {
  hypothesis: 'Reference / hypothesis', word_error_rate: 'WER', character_error_rate: 'CER',
  audio_duration_s: 'Seconds',
};

const listing = {rows: new Uint32Array(0), page: 0, columns: []};

function startSamples() {
  bindSearch();
  bindCheck('errors');
  bindCheck('audible');
  byId('page-back').addEventListener('click', () => turnPage(-1));
  byId('page-forward').addEventListener('click', () => turnPage(1));
  onChange([...FILTER_KEYS, 'sort', 'order'], () => { sortRows(); listing.page = 0; showTable(); });
  onChange(['colour'], showTable);
  onChange(['sample'], () => revealRow(selectedRow()));
  sortRows();
  revealRow(selectedRow());
}

function bindSearch() {
  const input = byId('search');
  let waiting = 0;
  input.addEventListener('input', () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => setState({search: input.value}), 150);
  });
  const show = () => { if (input.value !== state.search) input.value = state.search; };
  onChange(['search'], show);
  show();
}

function bindCheck(key) {
  const box = byId(key);
  box.addEventListener('change', () => setState({[key]: box.checked ? 'only' : ''}));
  const show = () => { box.checked = state[key] !== ''; };
  onChange([key], show);
  show();
}

/** Order the rows in view; equal and missing values keep the order of the table. */
function sortRows() {
  const keys = sortKeys(state.sort);
  const sign = state.order === 'ascending' ? 1 : -1;
  listing.rows = view.rows.slice().sort((a, b) => {
    const missing = Number.isNaN(keys[a]) - Number.isNaN(keys[b]);
    return missing || sign * (keys[a] - keys[b] || 0) || a - b;
  });
}

const lastPage = () => Math.max(0, Math.ceil(listing.rows.length / PAGE_ROWS) - 1);

function turnPage(step) {
  listing.page = Math.min(Math.max(listing.page + step, 0), lastPage());
  showTable();
  byId('rows').scrollTop = 0;
}

/** Turn to the page that holds a row and bring it into sight, without moving the window. */
function revealRow(row) {
  const position = listing.rows.indexOf(row);
  if (position >= 0) listing.page = Math.floor(position / PAGE_ROWS);
  showTable();
  const line = byId('table').querySelector('tr[aria-selected="true"]');
  if (!line) return;
  const box = byId('rows');
  const head = byId('table').tHead.offsetHeight;
  const [top, bottom] = [line.offsetTop - head, line.offsetTop + line.offsetHeight];
  if (top < box.scrollTop) box.scrollTop = top;
  else if (bottom > box.scrollTop + box.clientHeight) box.scrollTop = bottom - box.clientHeight;
}

function showTable() {
  listing.columns = tableColumns();
  const start = listing.page * PAGE_ROWS;
  const rows = listing.rows.slice(start, start + PAGE_ROWS);
  byId('table').replaceChildren(
    el('thead', {}, el('tr', {}, listing.columns.map(heading))),
    el('tbody', {}, [...rows].map(sampleLine)));
  byId('range').textContent = rangeText(start, rows.length);
  byId('page-back').disabled = listing.page === 0;
  byId('page-forward').disabled = listing.page === lastPage();
}

/** The fixed columns, the clip's duration, and the column the map is coloured by. */
function tableColumns() {
  const wanted = [...TABLE_COLUMNS, DATA.duration_column, 'split', state.colour];
  return [...new Set(wanted)].filter((name) => COLUMNS.has(name)
    && !['sentence', 'reference', 'sample_id'].includes(name)).map((name) => COLUMNS.get(name));
}

function rangeText(start, n) {
  const total = listing.rows.length;
  if (!total) return 'No sample passes the filters.';
  const all = view.modelRows.length;
  const of = total < all ? ` (of ${count(all)})` : '';
  return `${count(start + 1)}–${count(start + n)} of ${plural(total, 'sample')}${of}`;
}

function heading(column) {
  const {name} = column;
  const sorted = state.sort === name;
  const arrow = sorted ? (state.order === 'ascending' ? ' ▲' : ' ▼') : '';
  return el('th', {
    scope: 'col', class: column.role === 'number' ? 'number' : null,
    'aria-sort': sorted ? state.order : null,
  }, el('button', {
    type: 'button', class: 'sort', 'data-definition': name, 'data-sort': name,
    onclick: () => sortBy(column),
  }, (HEADINGS[name] ?? column.description.label) + arrow));
}

/** Numbers begin with the largest, texts with A; a second click turns the order round. */
function sortBy({name, role}) {
  const first = role === 'number' ? 'descending' : 'ascending';
  const second = first === 'ascending' ? 'descending' : 'ascending';
  const order = state.sort === name && state.order === first ? second : first;
  setState({sort: name, order});
  byId('table').querySelector(`[data-sort="${CSS.escape(name)}"]`)?.focus();
}

function sampleLine(row) {
  return el('tr', {
    'data-row': row, 'aria-selected': String(row === selectedRow()),
    onclick: () => selectRow(row),
  }, listing.columns.map((column) => sampleCell(column, row)));
}

function sampleCell(column, row) {
  const {name} = column;
  if (name === 'id') return clipCell(row);
  if (name === 'profile_name') {
    const profile = textAt(name, row);
    return el('td', {class: 'profile'}, profileSign(profile, 4), profile);
  }
  if (name === 'hypothesis') {
    return el('td', {class: 'texts'}, el('span', {}, textAt('reference', row)),
      el('span', {class: 'heard'}, markedHypothesis(row)));
  }
  const text = columnText(column, valueAt(name, row));
  return el('td', {class: column.role === 'number' ? 'number' : 'brief'},
    shortenMiddle(String(text), 32));
}

function clipCell(row) {
  const audible = hasAudio(row);
  return el('td', {class: 'clip'},
    el('button', {type: 'button', class: 'pick', title: textAt('id', row)},
      shortenMiddle(textAt('id', row), 17)),
    audible ? el('span', {class: 'audible', role: 'img', 'aria-label': 'has audio',
      title: 'Audio is in this page'}, '♪') : null);
}
