// The samples that filters and selection leave: in colour on the map, listed, counted everywhere.

const FILTER_KEYS = ['model', 'split', 'hidden', 'search', 'errors', 'audible', 'where', 'lasso',
  'clips'];
const SEARCHED = ['id', 'sentence', 'reference', 'hypothesis',
  ...[...COLUMNS.keys()].filter((name) => /speaker|client/.test(name))];

const view = {
  modelRows: new Uint32Array(0), // all samples of the chosen model
  rows: new Uint32Array(0), // those that pass the filters and are selected
  active: new Uint8Array(DATA.n_rows), // 1 for each of them
};

function startFilter() {
  onChange(['model'], findModelRows);
  onChange(FILTER_KEYS, applyFilters);
  findModelRows();
  applyFilters();
}

function findModelRows() {
  view.modelRows = rowsOfModel(state.model);
}

function rowsOfModel(name) {
  const test = textTest('model', (model) => model === name);
  return rowIndices().filter(test);
}

function applyFilters() {
  view.rows = view.modelRows.filter(allTests(filterTests()));
  view.active.fill(0);
  for (const row of view.rows) view.active[row] = 1;
}

const allTests = (tests) => (row) => tests.every((test) => test(row));

/** What a sample must meet, its model set aside. */
function filterTests() {
  const hidden = hiddenProfiles();
  const tests = [
    textTest('split', (split) => state.split === ALL_SPLITS || split === state.split),
    textTest('profile_name', (profile) => !hidden.has(profile)),
    ...conditions().map(conditionTest),
  ];
  if (state.clips) {
    const chosen = new Set(state.clips.split(',').map(Number));
    tests.push((row) => chosen.has(CLIP_OF_ROW[row]));
  }
  if (state.errors) {
    const edits = numbersOf('word_edits');
    tests.push((row) => edits[row] > 0);
  }
  if (state.audible) tests.push(hasAudio);
  if (state.search.trim()) tests.push(searchTest(state.search.trim().toLowerCase()));
  if (state.lasso) tests.push(lassoTest(parseLasso(state.lasso)));
  return tests;
}

/** Conditions: [column, value] or [column, low, high]; null when the text is none. */
function parseConditions(text) {
  if (text === '') return [];
  try {
    const found = JSON.parse(text);
    return Array.isArray(found) && found.every(isCondition) ? found : null;
  } catch {
    return null;
  }
}

function isCondition(condition) {
  if (!Array.isArray(condition) || !COLUMNS.has(condition[0])) return false;
  const [name, ...values] = condition;
  if (values.length === 2) {
    return COLUMNS.get(name).role === 'number' && values.every(Number.isFinite);
  }
  return values.length === 1 && (values[0] === null || typeof values[0] === 'string');
}

const conditions = () => parseConditions(state.where);

/** Add a condition; one on the same column is replaced. */
function setCondition(condition) {
  const others = conditions().filter(([name]) => name !== condition[0]);
  setState({where: JSON.stringify([...others, condition])});
}

function removeCondition(name) {
  const others = conditions().filter(([other]) => other !== name);
  setState({where: others.length ? JSON.stringify(others) : ''});
}

function conditionTest([name, ...values]) {
  if (values.length === 1) return textTest(name, (text, raw) => raw === values[0]);
  const numbers = numbersOf(name);
  const [low, high] = values;
  // Numbers of the page have seven digits; a bound must not lose the value it was taken from.
  const slack = 1e-6 * Math.max(Math.abs(low), Math.abs(high));
  return (row) => numbers[row] >= low - slack && numbers[row] <= high + slack;
}

function conditionText([name, ...values]) {
  const column = COLUMNS.get(name);
  const {label} = column.description;
  if (values.length === 1) return `${label}: ${values[0] ?? 'missing'}`;
  const [low, high] = values.map((value) => columnText(column, value));
  return `${label}: ${low === high ? low : `${low} to ${high}`}`;
}

const rowIndices = () => Uint32Array.from({length: DATA.n_rows}, (_, row) => row);

/** For each distinct value of a text column, whether it passes: far fewer than rows. */
function codesWhere(name, passes) {
  return Uint8Array.from(COLUMNS.get(name).values.dictionary,
    (value) => passes(String(value ?? ''), value));
}

function textTest(name, passes) {
  const wanted = codesWhere(name, passes);
  const codes = arrayOf(COLUMNS.get(name));
  return (row) => wanted[codes[row]] === 1;
}

function searchTest(needle) {
  const texts = SEARCHED.filter((name) => COLUMNS.get(name).role !== 'number');
  const tests = texts.map((name) =>
    textTest(name, (text) => text.toLowerCase().includes(needle)));
  return (row) => tests.some((test) => test(row));
}

/** Rows in view by the value of a text column, in the order of `values`. */
function splitRows(rows, name, values) {
  const {dictionary} = COLUMNS.get(name).values;
  const codes = arrayOf(COLUMNS.get(name));
  const places = dictionary.map((value) => values.indexOf(value));
  const groups = values.map(() => []);
  for (const row of rows) if (places[codes[row]] >= 0) groups[places[codes[row]]].push(row);
  return groups;
}

/** Rows in view by profile: [{profile, rows}], profiles without rows left out. */
function rowsByProfile(rows = view.rows) {
  const groups = splitRows(rows, 'profile_name', DATA.profiles);
  return DATA.profiles.map((profile, i) => ({profile, rows: groups[i]}))
    .filter(({rows: held}) => held.length);
}
