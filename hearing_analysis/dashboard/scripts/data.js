// The table, by columns. Arrays are decoded when first asked for; encoding.py writes them.

const DATA = JSON.parse(byId('analysis').textContent);

const ARRAY_TYPES = {
  u1: Uint8Array, u2: Uint16Array, u4: Uint32Array,
  i4: Int32Array, f4: Float32Array, f8: Float64Array,
};

const COLUMNS = new Map(DATA.columns.map((column, i) => [column.name, lazyColumn(column, i)]));
const CLIP_OF_ROW = decodeArray(heavyData('clips'));
const CLIPS_WITH_AUDIO = new Set(DATA.clips_with_audio);
const ROWS_OF_CLIP = groupRows(CLIP_OF_ROW, DATA.n_clips);

/** What an element of the page holds; null without it. */
function heavyData(name) {
  const element = byId(`data-${name}`);
  return element === null ? null : JSON.parse(element.textContent);
}

/** A column whose values are read when they are first needed: there may be a hundred. */
function lazyColumn(column, i) {
  let values;
  Object.defineProperty(column, 'values', {get: () => (values ??= heavyData(`column-${i}`))});
  return column;
}

function decodeBase64(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

function decodeArray({type, data}) {
  return new ARRAY_TYPES[type](decodeBase64(data).buffer);
}

/** The array of a column: its values, or where it has a dictionary, positions in that. */
function arrayOf(column) {
  column.decoded ??= decodeArray(column.values.array);
  return column.decoded;
}

/** A numeric column as numbers, NaN where missing. */
function numbersOf(name) {
  const column = COLUMNS.get(name);
  const {dictionary} = column.values;
  if (dictionary === null) return arrayOf(column);
  column.numbers ??= Float64Array.from(arrayOf(column), (code) => dictionary[code] ?? NaN);
  return column.numbers;
}

/** The value of a column in a row; null (or NaN) where missing. */
function valueAt(name, row) {
  const column = COLUMNS.get(name);
  const {dictionary} = column.values;
  const stored = arrayOf(column)[row];
  return dictionary === null ? stored : dictionary[stored];
}

const textAt = (name, row) => valueAt(name, row) ?? '';

/** Sort keys of a column, ascending; missing values sort last either way. */
function sortKeys(name) {
  const column = COLUMNS.get(name);
  if (column.values.kind === 'number') return numbersOf(name);
  column.keys ??= Float64Array.from(arrayOf(column), (() => {
    const {dictionary} = column.values;
    const {compare} = new Intl.Collator('en', {numeric: true});
    const order = [...dictionary.keys()].filter((code) => dictionary[code] !== null);
    order.sort((a, b) => compare(dictionary[a], dictionary[b]));
    const rank = new Float64Array(dictionary.length).fill(NaN);
    order.forEach((code, position) => { rank[code] = position; });
    return (code) => rank[code];
  })());
  return column.keys;
}

/** Rows of each clip, in the order of the table. */
function groupRows(clipOfRow, nClips) {
  const groups = Array.from({length: nClips}, () => []);
  clipOfRow.forEach((clip, row) => groups[clip].push(row));
  return groups;
}

const heavy = {};

/** A column of texts beside the table: of a row, or null. */
function besideAt(name, row) {
  if (!(name in heavy)) heavy[name] = heavyData(name);
  const column = heavy[name];
  if (column === null) return null;
  column.decoded ??= decodeArray(column.array);
  return column.dictionary[column.decoded[row]];
}

/** The word alignment of a row: a string of "=", "s", "d" and "i". */
const operationsAt = (row) => besideAt('operations', row);

/** Confidence of each recognised word of a row; null when the table has none. */
function confidencesAt(row) {
  const letters = besideAt('confidences', row);
  if (letters === null) return null;
  return [...letters].map((letter) => (letter === '~' ? NaN : (letter.charCodeAt(0) - 33) / 92));
}

const hasAudio = (row) => CLIPS_WITH_AUDIO.has(CLIP_OF_ROW[row]);

/** Audio of a clip, by profile; null when there is none. */
function audioOfClip(clip) {
  if (!CLIPS_WITH_AUDIO.has(clip)) return null;
  if (DATA.audio_source === 'server') return audioFromServer(clip);
  const element = byId(`clip-${clip}`);
  return new Map(JSON.parse(element.textContent).profiles.map((audio) => [audio.profile, audio]));
}

/** What the server has of a clip: addresses, and figures from the table. */
function audioFromServer(clip) {
  const figure = (name, row) => {
    const value = COLUMNS.has(name) ? valueAt(name, row) : null;
    return isMissing(value) ? null : value;
  };
  return new Map(ROWS_OF_CLIP[clip].map((row) => [textAt('profile_name', row), {
    profile: textAt('profile_name', row),
    flac: `audio/${row}.flac`, spectrogram: `spectrogram/${row}.png`, in_folder: true,
    seconds: figure('audio_duration_s', row),
    rms_dbfs: figure('audio_level_dbfs', row), peak_dbfs: figure('audio_peak_dbfs', row),
  }]));
}

/** A row by its address, "<clip>@<profile>", among those of a model; -1 when there is none. */
function rowOfSample(address, model) {
  for (let row = 0; row < DATA.n_rows; row++) {
    if (sampleAddress(row) === address && valueAt('model', row) === model) return row;
  }
  return -1;
}

const sampleAddress = (row) => `${textAt('id', row)}@${textAt('profile_name', row)}`;
