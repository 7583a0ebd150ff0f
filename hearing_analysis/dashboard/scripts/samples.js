// The table of samples: sorted, filtered; only the lines in sight are in the document.

const LINE = 46; // pixels of a line, whatever it holds
const SPARE = 8; // lines drawn above and below those in sight
const TABLE_COLUMNS = ['id', 'profile_name', 'hypothesis', 'word_error_rate',
  'character_error_rate', 'ctc_loss'];
const HEADINGS = {
  hypothesis: 'Reference / hypothesis', word_error_rate: 'WER', character_error_rate: 'CER',
  audio_duration_s: 'Seconds',
};
const LIST_VIEWS = ['map', 'samples'];

const listing = {rows: new Uint32Array(0), columns: [], first: -1, last: -1};

function startSamples() {
  byId('exports').append(...exportButtons());
  startColumnMenu();
  byId('rows').addEventListener('scroll', () => requestAnimationFrame(() => showLines()));
  new ResizeObserver(() => showLines()).observe(byId('rows'));
  onChange([...FILTER_KEYS, 'sort', 'order'], () => {
    sortRows();
    byId('rows').scrollTop = 0;
    showTable();
  });
  onChange(['colour', 'columns', 'view'], showTable);
  onChange(['sample'], () => revealRow(selectedRow()));
  sortRows();
}

function startColumnMenu() {
  const select = byId('add-column');
  select.append(option('', 'add or remove'));
  for (const {label, names} of columnGroups([...COLUMNS.keys()].filter((name) =>
    !['sentence', 'reference', 'sample_id', ...TABLE_COLUMNS].includes(name)))) {
    select.append(el('optgroup', {label}, names.map((name) =>
      option(name, COLUMNS.get(name).description.label))));
  }
  select.addEventListener('change', () => {
    const chosen = extraColumns();
    const others = chosen.filter((name) => name !== select.value);
    setState({columns: (others.length < chosen.length ? others : [...chosen, select.value]).join(',')});
    select.value = '';
  });
}

const extraColumns = () => state.columns.split(',').filter((name) => COLUMNS.has(name));

/** Order the rows in view; equal and missing values keep the order of the table. */
function sortRows() {
  const keys = sortKeys(state.sort);
  const sign = state.order === 'ascending' ? 1 : -1;
  listing.rows = view.rows.slice().sort((a, b) => {
    const missing = Number.isNaN(keys[a]) - Number.isNaN(keys[b]);
    return missing || sign * (keys[a] - keys[b] || 0) || a - b;
  });
}

function showTable() {
  if (!LIST_VIEWS.includes(state.view)) return;
  listing.columns = tableColumns();
  byId('range').textContent = rangeOfRows();
  const table = byId('table');
  table.setAttribute('aria-rowcount', listing.rows.length + 1);
  table.replaceChildren(el('thead', {}, el('tr', {}, listing.columns.map(heading))), el('tbody'));
  listing.first = -1;
  showLines();
}

/** Draw the lines in sight, between two empty ones as high as all others. */
function showLines() {
  const box = byId('rows');
  const body = byId('table').tBodies[0];
  if (!body || !LIST_VIEWS.includes(state.view)) return;
  const n = listing.rows.length;
  const first = Math.max(0, Math.floor(box.scrollTop / LINE) - SPARE);
  const last = Math.min(n, Math.ceil((box.scrollTop + box.clientHeight) / LINE) + SPARE);
  if (first === listing.first && last === listing.last) return;
  Object.assign(listing, {first, last});
  body.replaceChildren(filler(first), ...Array.from(listing.rows.slice(first, last), sampleLine),
    filler(n - last));
}

const filler = (nLines) => el('tr', {class: 'filler', 'aria-hidden': 'true', hidden: nLines === 0},
  el('td', {colspan: listing.columns.length, style: {height: `${nLines * LINE}px`}}));

/** Bring a row into sight, without moving the window. */
function revealRow(row) {
  const place = listing.rows.indexOf(row);
  const box = byId('rows');
  const head = byId('table').tHead?.offsetHeight ?? 0;
  if (place >= 0) {
    if (place * LINE < box.scrollTop) box.scrollTop = place * LINE;
    else if ((place + 1) * LINE + head > box.scrollTop + box.clientHeight) {
      box.scrollTop = (place + 1) * LINE + head - box.clientHeight;
    }
  }
  listing.first = -1;
  showLines();
}

/** The fixed columns and those that were added; beside the map few, its colour among them. */
function tableColumns() {
  const wanted = state.view === 'map'
    ? [...TABLE_COLUMNS.slice(0, 4), state.colour, ...extraColumns()]
    : [...TABLE_COLUMNS, DATA.duration_column, ...extraColumns(), 'split'];
  return [...new Set(wanted)].filter((name) => COLUMNS.has(name)
    && !['sentence', 'reference', 'sample_id'].includes(name)).map((name) => COLUMNS.get(name));
}

function rangeOfRows() {
  const total = listing.rows.length;
  if (!total) return 'No sample passes the filters.';
  const all = view.modelRows.length;
  return `${plural(total, 'sample')}${total < all ? ` of ${count(all)}` : ''}`;
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
    return el('td', {class: 'texts'}, el('span', {}, shorten(textAt('reference', row), 300)),
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
      title: 'Its audio can be played'}, '♪') : null);
}
