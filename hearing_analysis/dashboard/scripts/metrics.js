// What can be measured of a group of samples: error rates as ratios of sums, all else as means.

const ONE = () => 1;
const columnOf = (name) => {
  const values = numbersOf(name);
  return (row) => values[row];
};

const RATIO_METRICS = [
  {key: 'wer', label: 'Word error rate', top: 'word_edits', bottom: 'word_reference_length'},
  {key: 'cer', label: 'Character error rate', top: 'character_edits',
    bottom: 'character_reference_length'},
  {key: 'substitutions', label: 'Substituted words', top: 'word_substitutions',
    bottom: 'word_reference_length'},
  {key: 'deletions', label: 'Deleted words', top: 'word_deletions', bottom: 'word_reference_length'},
  {key: 'insertions', label: 'Inserted words', top: 'word_insertions',
    bottom: 'word_reference_length'},
];
const INFORMATION_LOST = {key: 'wil', label: 'Word information lost'};

/** All metrics: {key, label, percent, definition, estimate(rows), valueOf(row)}. */
const METRICS = new Map([
  ...RATIO_METRICS.map(ratioMetric), lostMetric(INFORMATION_LOST),
  ...[...COLUMNS.values()].filter(({role}) => role === 'number').map(meanMetric),
].map((metric) => [metric.key, metric]));

function ratioMetric({key, label, top, bottom}) {
  return {
    key, label, percent: true, definition: key,
    estimate: (rows) => ratioEstimate(rows, columnOf(top), columnOf(bottom)),
    valueOf: (row) => numbersOf(top)[row] / (numbersOf(bottom)[row] || 1),
  };
}

function lostMetric({key, label}) {
  const recognised = (row) => numbersOf('word_hits')[row] + numbersOf('word_substitutions')[row]
    + numbersOf('word_insertions')[row];
  return {
    key, label, percent: true, definition: key,
    estimate: (rows) => informationLost(
      rows, columnOf('word_hits'), columnOf('word_reference_length'), recognised),
    valueOf: (row) => {
      const hits = numbersOf('word_hits')[row];
      const product = numbersOf('word_reference_length')[row] * recognised(row);
      return product ? 1 - hits ** 2 / product : 1;
    },
  };
}

function meanMetric({name, description}) {
  return {
    key: name, label: description.label, percent: description.unit === '%', definition: name,
    unit: description.unit,
    estimate: (rows) => ratioEstimate(rows, columnOf(name), ONE),
    valueOf: (row) => numbersOf(name)[row],
  };
}

const metricText = (metric, value) => {
  if (isMissing(value)) return MISSING;
  return metric.percent ? percent(value) : number(value);
};

/** A value with its interval in words: "12.3 % (10.1 to 14.9)". */
function estimateText(metric, {value, low, high}) {
  const plain = (v) => (metric.percent ? fixed(100 * v, 1) : number(v));
  const text = metricText(metric, value);
  return isMissing(low) ? text : `${text} (${plain(low)} to ${plain(high)})`;
}

/** The menu of metrics: the usual ones, then every numeric column. */
function metricOptions() {
  const usual = [...RATIO_METRICS, INFORMATION_LOST].map(({key}) => key).concat('ctc_loss');
  const rest = [...METRICS.keys()].filter((key) => !usual.includes(key));
  return [
    el('optgroup', {label: 'Errors'}, usual.filter((key) => METRICS.has(key)).map(metricOption)),
    ...columnGroups(rest).map(({label, names}) => el('optgroup', {label}, names.map(metricOption))),
  ];
}

const metricOption = (key) => option(key, METRICS.get(key).label);

const COLUMN_GROUPS = [
  {label: 'Errors', holds: (name) =>
    /^(word|character|forced|hallucination)_|^ctc_loss$|^cross_entropy$|^token_accuracy$/.test(name)},
  {label: 'Confidence', holds: (name) => name.startsWith('confidence_')},
  {label: 'Sample',
    holds: (name) => ['profile_name', 'split', 'model', 'cluster', 'truncated'].includes(name)},
  {label: 'Added', holds: (name) => !COLUMNS.get(name).known},
  {label: 'Audio', holds: (name) => name.startsWith('audio_')},
  {label: 'Text', holds: (name) => name.startsWith('text_')},
  {label: 'Profile', holds: (name) => name.startsWith('profile_')},
  {label: 'Clip', holds: (name) => name.startsWith('clip_')},
  {label: 'Other', holds: () => true},
];

/** Names of columns in groups for a menu. */
function columnGroups(names) {
  const rest = new Set(names);
  return COLUMN_GROUPS.map(({label, holds}) => {
    const held = [...rest].filter(holds);
    held.forEach((name) => rest.delete(name));
    return {label, names: held};
  }).filter(({names: held}) => held.length);
}

/** Fill a menu with columns and keep it and the state in step. */
function bindColumnMenu(id, key, names, {none = null} = {}) {
  const select = byId(id);
  if (none !== null) select.append(option('', none));
  for (const {label, names: held} of columnGroups(names)) {
    select.append(el('optgroup', {label}, held.map((name) =>
      option(name, COLUMNS.get(name).description.label))));
  }
  bindSelect(select, key);
}

function bindSelect(select, key) {
  select.addEventListener('change', () => setState({[key]: select.value}));
  const show = () => {
    select.value = state[key];
    if (COLUMNS.has(state[key])) select.dataset.definition = state[key];
  };
  onChange([key], show);
  show();
}
