// Eight questions on speech models that were asked before, each answered with the data in view.

const FINDINGS = [
  {text: 'Do long sentences lie apart on the map?', needs: ['text_word_count'],
    state: {view: 'map', colour: 'text_word_count'}},
  {text: 'Are longer sentences recognised better?', metric: 'wer', by: 'text_word_count'},
  {text: 'Do noise-like sounds cost characters? (least spectral flatness)', metric: 'cer',
    by: 'audio_spectral_flatness_min'},
  {text: 'Does a varying level raise the loss? (RMS, standard deviation)', metric: 'ctc_loss',
    by: 'audio_rms_std'},
  {text: 'Do pauses between words help?', metric: 'wer', by: 'audio_pause_ratio'},
  {text: 'Which clusters hold the difficult words?', metric: 'text_difficult_words', by: 'cluster'},
  {text: 'Which clusters hold the texts that need more schooling? (Linsear Write)',
    metric: 'text_linsear_write_formula', by: 'cluster'},
  {text: 'Does readability move every metric? (Dale–Chall)', by: 'text_dale_chall_readability_score',
    metrics: ['wer', 'cer', 'wil', 'substitutions', 'deletions', 'insertions', 'ctc_loss']},
];

const MAX_RANKED = 3000; // samples per profile

function showFindings() {
  const possible = FINDINGS.filter(({by, metric, needs}) =>
    [by, metric, ...(needs ?? [])].every((name) => !name || COLUMNS.has(name) || METRICS.has(name)));
  byId('findings').replaceChildren(...possible.map(finding));
}

function finding({text, metric, by, state: whole, metrics}) {
  const shown = metrics ?? (metric ? [metric] : []);
  const target = whole ?? {metric: shown[0], by, and: ''};
  return el('article', {class: 'finding'},
    el('button', {type: 'button', class: 'link', onclick: () => setState(target)}, text),
    shown.map((key) => el('p', {class: 'note'}, `${METRICS.get(key).label}: `, answer(key, by))));
}

/** Rank correlation under each profile; for categories, the values with least and most. */
function answer(key, by) {
  const metric = METRICS.get(key);
  if (COLUMNS.get(by).role !== 'number') return extremes(metric, by);
  return rowsByProfile().flatMap(({profile, rows}) => [
    profileSign(profile, 4), el('span', {class: 'rho', 'data-definition': 'spearman'},
      `ρ ${rhoText(spearman(thinned(rows), columnOf(by), metric.valueOf))}`)]);
}

/** Every so-manieth row: a correlation needs no more, and there are two dozen of them. */
function thinned(rows) {
  const step = Math.ceil(rows.length / MAX_RANKED);
  return step > 1 ? rows.filter((_, i) => i % step === 0) : rows;
}

const rhoText = (rho) => (isMissing(rho) ? MISSING : fixed(rho, 2));

function extremes(metric, by) {
  const bins = valuesOf(by, view.rows)
    .map((bin) => ({label: bin.label, ...metric.estimate([...view.rows].filter(bin.test))}))
    .filter(({value}) => !isMissing(value)).sort((a, b) => a.value - b.value);
  if (bins.length < 2) return MISSING;
  const [least, most] = [bins[0], bins[bins.length - 1]];
  return `most in ${most.label} (${metricText(metric, most.value)}), `
    + `least in ${least.label} (${metricText(metric, least.value)})`;
}
