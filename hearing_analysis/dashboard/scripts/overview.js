// The table of error rates: a row per profile and model, for the chosen split.

const groupsInView = () => DATA.overview.filter((group) => group.split === state.split);

function startOverview() {
  drawView('overview', [...FILTER_KEYS, 'theme'], showOverview);
}

function showOverview() {
  const groups = isNarrowed() ? groupsOfSelection() : groupsInView();
  byId('figures').replaceChildren(
    el('thead', {}, figuresHead()), el('tbody', {}, groups.map(figuresRow)));
  byId('figures-note').textContent = truncationNote(groups);
  showChart(groups);
  showMultiples();
}

/** Whether more than split and profiles decides what is in view. */
const isNarrowed = () => isSelected() || Boolean(state.search.trim() || state.errors || state.audible);

/** Figures of the samples in view, by the large-sample interval: of the chosen model. */
function groupsOfSelection() {
  const sum = (rows, name) => rows.reduce((total, row) => total + (numbersOf(name)[row] || 0), 0);
  const errors = (rows, unit, metric) => ({
    rate: METRICS.get(metric).estimate(rows),
    ...Object.fromEntries([...ERROR_KINDS.map(({key}) => key), 'hits', 'reference_length']
      .map((kind) => [kind, sum(rows, `${unit}_${kind}`)])),
  });
  const groups = rowsByProfile();
  const reference = groups.find(({profile}) => profile === DATA.reference_profile);
  return groups.map(({profile, rows}) => ({
    split: state.split, model: state.model, profile, n_clips: rows.length,
    n_truncated: COLUMNS.has('truncated')
      ? rows.filter((row) => valueAt('truncated', row) === 'yes').length : 0,
    seconds: DATA.duration_column ? sum(rows, DATA.duration_column) : null,
    word: errors(rows, 'word', 'wer'), character: errors(rows, 'character', 'cer'),
    word_delta: pairedWithReference(rows, reference?.rows ?? []),
    ctc_loss: meanOf(rows, 'ctc_loss'), cross_entropy: meanOf(rows, 'cross_entropy'),
  }));
}

const meanOf = (rows, name) =>
  (COLUMNS.has(name) ? ratioEstimate(rows, columnOf(name), ONE).value : NaN);

/** WER minus that of the reference profile on the clips in view under both. */
function pairedWithReference(rows, reference) {
  const rowOfClip = new Map(reference.map((row) => [CLIP_OF_ROW[row], row]));
  const edits = numbersOf('word_edits');
  return ratioEstimate(rows.filter((row) => rowOfClip.has(CLIP_OF_ROW[row])),
    (row) => edits[row] - edits[rowOfClip.get(CLIP_OF_ROW[row])], columnOf('word_reference_length'));
}

function figuresHead() {
  const head = (text, key, numeric = true) =>
    el('th', {scope: 'col', class: numeric ? 'number' : null}, term(text, key));
  return el('tr', {},
    head('Profile', 'profile', false),
    DATA.models.length > 1 ? head('Model', 'model', false) : null,
    head('Clips', 'clips'), head('Audio', 'minutes'),
    head('WER', 'wer'), head('vs. normal', 'delta'), head('CER', 'cer'),
    head('Sub', 'substitutions'), head('Del', 'deletions'), head('Ins', 'insertions'),
    head('Loss', 'loss'));
}

function figuresRow(group) {
  const {word, character} = group;
  const isReference = group.profile === DATA.reference_profile;
  const cell = (...content) => el('td', {class: 'number'}, ...content);
  return el('tr', {},
    el('th', {scope: 'row'}, profileSign(group.profile), group.profile),
    DATA.models.length > 1 ? el('td', {}, group.model) : null,
    cell(count(group.n_clips)),
    cell(duration(group.seconds)),
    cell(...estimate(percent(word.rate.value), word.rate, 'strong')),
    cell(...(isReference ? ['reference'] : differenceOf(group.word_delta))),
    cell(...estimate(percent(character.rate.value), character.rate)),
    cell(count(word.substitutions)), cell(count(word.deletions)), cell(count(word.insertions)),
    cell(lossText(group)));
}

/** CTC loss, or else cross entropy, which is much smaller. */
function lossText({ctc_loss: ctc, cross_entropy: entropy}) {
  if (!isMissing(ctc)) return fixed(ctc, 1);
  return isMissing(entropy) ? MISSING : fixed(entropy, 2);
}

/** Minutes, and hours from two hours on. */
function duration(seconds) {
  if (isMissing(seconds)) return MISSING;
  const [size, unit] = seconds < 7200 ? [60, 'min'] : [3600, 'h'];
  return `${fixed(seconds / size, 1)}${NARROW_SPACE}${unit}`;
}

/** A figure over its interval. */
function estimate(text, {low, high}, tag = 'span') {
  const range = percentRange(low, high);
  return [el(tag, {}, text), range ? el('small', {'data-definition': 'interval'}, range) : null];
}

function differenceOf(delta) {
  const p = isMissing(delta.p_value) ? null : el('small', {'data-definition': 'delta'},
    `p ${delta.p_value < 0.001 ? '< 0.001' : `= ${fixed(delta.p_value, 3)}`}`);
  return [...estimate(points(delta.value), delta), p].filter(Boolean);
}

function truncationNote(groups) {
  const truncated = Math.max(0, ...groups.map((group) => group.n_truncated));
  const interval = isNarrowed()
    ? 'Figures of the samples in view. Small figures: 95 % large-sample intervals over clips.'
    : 'Small figures: 95 % bootstrap intervals over clips.';
  if (!truncated) return interval;
  const are = truncated === 1 ? 'is' : 'are';
  const cut = 'longer than the model’s window and cut';
  return `${interval} ${plural(truncated, 'clip')} ${are} ${cut}.`;
}
