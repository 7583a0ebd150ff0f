// What the reader has chosen. It lives in the address behind "#", so a link or a reload keeps it.

const ALL_SPLITS = 'all';

const DEFAULTS = Object.freeze({
  split: DATA.splits[0],
  model: DATA.models[0],
  hidden: '', // profiles switched off, separated by commas
  colour: 'word_error_rate',
  sort: 'word_error_rate',
  order: 'descending',
  search: '',
  errors: '',
  audible: '',
  sample: '',
  theme: '',
});

const ALLOWED = {
  split: (value) => value === ALL_SPLITS || DATA.splits.includes(value),
  model: (value) => DATA.models.includes(value),
  colour: (value) => COLUMNS.has(value),
  sort: (value) => COLUMNS.has(value),
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
