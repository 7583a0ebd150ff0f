// The samples the filters leave: drawn in colour on the map, listed in the table.

const FILTER_KEYS = ['model', 'split', 'hidden', 'search', 'errors', 'audible'];
const SEARCHED = ['id', 'sentence', 'reference', 'hypothesis',
  ...[...COLUMNS.keys()].filter((name) => /speaker|client/.test(name))];

const view = {
  modelRows: new Uint32Array(0), // all samples of the chosen model
  rows: new Uint32Array(0), // those that pass the filters
  active: new Uint8Array(DATA.n_rows), // 1 for each of them
};

function startFilter() {
  onChange(['model'], findModelRows);
  onChange(FILTER_KEYS, applyFilters);
  findModelRows();
  applyFilters();
}

function findModelRows() {
  const wanted = codesWhere('model', (model) => model === state.model);
  const codes = arrayOf(COLUMNS.get('model'));
  view.modelRows = rowIndices().filter((row) => wanted[codes[row]]);
}

function applyFilters() {
  const hidden = hiddenProfiles();
  const tests = [
    textTest('split', (split) => state.split === ALL_SPLITS || split === state.split),
    textTest('profile_name', (profile) => !hidden.has(profile)),
  ];
  if (state.errors) {
    const edits = numbersOf('word_edits');
    tests.push((row) => edits[row] > 0);
  }
  if (state.audible) tests.push(hasAudio);
  if (state.search.trim()) tests.push(searchTest(state.search.trim().toLowerCase()));
  view.rows = view.modelRows.filter((row) => tests.every((test) => test(row)));
  view.active.fill(0);
  for (const row of view.rows) view.active[row] = 1;
}

const rowIndices = () => Uint32Array.from({length: DATA.n_rows}, (_, row) => row);

/** For each distinct value of a text column, whether it passes: far fewer than rows. */
function codesWhere(name, passes) {
  return Uint8Array.from(COLUMNS.get(name).values.dictionary, (value) => passes(value ?? ''));
}

function textTest(name, passes) {
  const wanted = codesWhere(name, passes);
  const codes = arrayOf(COLUMNS.get(name));
  return (row) => wanted[codes[row]] === 1;
}

function searchTest(needle) {
  const texts = SEARCHED.filter((name) => COLUMNS.get(name).values.kind === 'text');
  const tests = texts.map((name) =>
    textTest(name, (text) => text.toLowerCase().includes(needle)));
  return (row) => tests.some((test) => test(row));
}
