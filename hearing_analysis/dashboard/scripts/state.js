// What the reader has chosen. It lives in the address behind "#", so a link or a reload keeps it.

const ALL_SPLITS = 'all';

const DEFAULTS = Object.freeze({
  view: DATA.models.length > 1 ? 'compare' : 'overview',
  split: DATA.splits[0],
  model: DATA.models[0],
  hidden: '', // profiles switched off, separated by commas
  search: '',
  errors: '',
  audible: '',
  where: '', // conditions on columns, as JSON
  lasso: '', // a polygon on the map: projection, then its corners
  clips: '', // only these clips, by number
  sample: '',
  colour: 'word_error_rate',
  size: '',
  hover: '',
  projection: 'table',
  tool: 'pan',
  arrows: '',
  sort: 'word_error_rate',
  order: 'descending',
  columns: '', // further columns of the table, separated by commas
  metric: 'wer',
  by: COLUMNS.has('text_word_count') ? 'text_word_count' : 'profile_name',
  and: '', // a second column makes a heat map
  per: 'profile_name',
  bins: '6',
  words: 'lost',
  first: DATA.models[0],
  second: DATA.models[1] ?? '',
  theme: '',
});

const isColumn = (value) => COLUMNS.has(value);
const isModel = (value) => DATA.models.includes(value);
const isColumnOrNone = (value) => value === '' || COLUMNS.has(value);
const ALLOWED = {
  view: (value) => VIEW_KEYS.includes(value) && hasView(value),
  split: (value) => value === ALL_SPLITS || DATA.splits.includes(value),
  model: isModel,
  first: isModel,
  second: isModel,
  where: (value) => parseConditions(value) !== null,
  lasso: (value) => value === '' || parseLasso(value) !== null,
  clips: (value) => /^(\d+(,\d+)*)?$/.test(value),
  colour: isColumn,
  size: isColumnOrNone,
  hover: isColumnOrNone,
  sort: isColumn,
  by: isColumn,
  and: isColumnOrNone,
  per: (value) => ['', 'profile_name', 'split'].includes(value),
  projection: (value) => PROJECTIONS.has(value),
  tool: (value) => TOOLS.some(({key}) => key === value),
  metric: (value) => METRICS.has(value),
  bins: (value) => /^([2-9]|1\d|20)$/.test(value),
  words: (value) => WORD_ORDERS.some(({key}) => key === value),
  order: (value) => value === 'ascending' || value === 'descending',
  theme: (value) => value === 'light' || value === 'dark',
};

const state = {...DEFAULTS};
const listeners = [];

/** Call `react` whenever one of `keys` has changed. */
function onChange(keys, react) {
  listeners.push({keys, react});
}

/** Change the state, remember it in the address, tell those who depend on it. */
function setState(changes) {
  const changed = Object.keys(changes).filter((key) => state[key] !== changes[key]);
  if (!changed.length) return;
  Object.assign(state, changes);
  writeAddress();
  for (const {keys, react} of listeners) {
    if (keys.some((key) => changed.includes(key))) react();
  }
}

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  const next = {...DEFAULTS};
  for (const key of Object.keys(DEFAULTS)) {
    const value = given.get(key);
    if (value !== null && (ALLOWED[key]?.(value) ?? true)) next[key] = value;
  }
  if (!hasView(next.view)) next.view = 'overview';
  return next;
}

function writeAddress() {
  const chosen = Object.entries(state).filter(([key, value]) => value !== DEFAULTS[key]);
  const hash = new URLSearchParams(chosen).toString();
  history.replaceState(null, '', hash ? `#${hash}` : location.pathname + location.search);
}

const hiddenProfiles = () => new Set(state.hidden.split(',').filter(Boolean));

// A link inside the page (#samples) is a jump, not a state.
window.addEventListener('hashchange', () => {
  if (location.hash.includes('=')) setState(readAddress());
  else writeAddress();
});
