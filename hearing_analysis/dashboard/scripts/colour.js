// Colour scales. Numbers: viridis, even steps in lightness, readable without red-green vision.
// Categories: eight colours after Okabe and Ito (2008), the rest grey.

const VIRIDIS = [
  '#440154', '#482878', '#3e4989', '#31688e', '#26828e',
  '#1f9e89', '#35b779', '#6ece58', '#b5de2b', '#fde725',
];
const N_STEPS = 64;
const N_CATEGORIES = 8;
const CLIP = 0.02; // share of values beyond either end of the scale

const channels = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

/** Colour at `position` (0 to 1) between evenly spaced anchors. */
function interpolateColour(anchors, position) {
  const place = Math.min(Math.max(position, 0), 1) * (anchors.length - 1);
  const left = Math.min(Math.floor(place), anchors.length - 2);
  const [from, to] = [channels(anchors[left]), channels(anchors[left + 1])];
  const mixed = from.map((value, i) => Math.round(value + (to[i] - value) * (place - left)));
  return `rgb(${mixed.join(' ')})`;
}

/**
 * Scale of a column over some rows: `colours`, and the position of each row's colour in it
 * (`binOf`). The first `nNamed` are those of the legend; the last stands for missing values.
 */
function colourScale(name, rows) {
  const column = COLUMNS.get(name);
  return column.role === 'number' ? numericScale(column, rows) : categoricalScale(column, rows);
}

function numericScale(column, rows) {
  const values = numbersOf(column.name);
  const domain = clippedDomain(values, rows);
  const span = domain.high - domain.low || 1;
  const colours = Array.from({length: N_STEPS}, (_, i) =>
    interpolateColour(VIRIDIS, i / (N_STEPS - 1)));
  return {
    kind: 'number', column, ...domain, nNamed: N_STEPS,
    colours: [...colours, cssColour('--missing')],
    binOf(row) {
      const value = values[row];
      if (Number.isNaN(value)) return N_STEPS;
      const position = Math.min(Math.max((value - domain.low) / span, 0), 1);
      return Math.round(position * (N_STEPS - 1));
    },
  };
}

/** The 2nd to the 98th percentile; everything when these coincide. */
function clippedDomain(values, rows) {
  const finite = Float64Array.from(rows, (row) => values[row]).filter(Number.isFinite).sort();
  const n = finite.length;
  if (!n) return {low: 0, high: 0, least: 0, most: 0, empty: true};
  const [least, most] = [finite[0], finite[n - 1]];
  const low = finite[Math.floor(CLIP * (n - 1))];
  const high = finite[Math.ceil((1 - CLIP) * (n - 1))];
  return low < high ? {low, high, least, most} : {low: least, high: most, least, most};
}

function categoricalScale(column, rows) {
  const {dictionary} = column.values;
  const codes = arrayOf(column);
  const frequency = new Uint32Array(dictionary.length);
  for (const row of rows) frequency[codes[row]]++;
  const shown = orderCategories(column, dictionary, frequency);
  const named = shown.slice(0, N_CATEGORIES);
  const bins = new Uint8Array(dictionary.length).fill(named.length);
  named.forEach((code, position) => { bins[code] = position; });
  const missing = dictionary.indexOf(null);
  if (missing >= 0) bins[missing] = named.length + 1;
  const total = (chosen) => chosen.reduce((sum, code) => sum + frequency[code], 0);
  return {
    kind: 'category', column, nNamed: named.length,
    colours: [...named.map((_, i) => cssColour(`--c${i}`)),
      cssColour('--other'), cssColour('--missing')],
    binOf: (row) => bins[codes[row]],
    categories: named.map((code) => ({text: dictionary[code], n: frequency[code]})),
    nOthers: shown.length - named.length,
    others: total(shown.slice(N_CATEGORIES)),
    missing: missing >= 0 ? frequency[missing] : 0,
  };
}

/** Profiles in their own order and colours; else the most frequent first, then by name. */
function orderCategories(column, dictionary, frequency) {
  const present = [...dictionary.keys()].filter((c) => dictionary[c] !== null && frequency[c]);
  if (column.name === 'profile_name') {
    return present.sort((a, b) =>
      DATA.profiles.indexOf(dictionary[a]) - DATA.profiles.indexOf(dictionary[b]));
  }
  const {compare} = new Intl.Collator('en', {numeric: true});
  const byName = (a, b) => compare(dictionary[a], dictionary[b]);
  if (present.length <= N_CATEGORIES) return present.sort(byName);
  return present.sort((a, b) => frequency[b] - frequency[a] || byName(a, b));
}
