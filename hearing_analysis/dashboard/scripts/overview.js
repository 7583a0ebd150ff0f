// The table of error rates: a row per profile and model, for the chosen split.

const groupsInView = () => DATA.overview.filter((group) => group.split === state.split);

function startOverview() {
  onChange(['split'], showOverview);
  showOverview();
}

function showOverview() {
  const groups = groupsInView();
  byId('figures').replaceChildren(
    el('thead', {}, figuresHead()), el('tbody', {}, groups.map(figuresRow)));
  byId('figures-note').textContent = truncationNote(groups);
  showChart(groups);
}

function figuresHead() {
  const head = (text, key, numeric = true) =>
    el('th', {scope: 'col', class: numeric ? 'number' : null}, term(text, key));
  return el('tr', {},
    head('Profile', 'profile', false),
    DATA.models.length > 1 ? head('Model', 'model', false) : null,
    head('Clips', 'clips'), head('Minutes', 'minutes'),
    head('WER', 'wer'), head('vs. normal', 'delta'), head('CER', 'cer'),
    head('Sub', 'substitutions'), head('Del', 'deletions'), head('Ins', 'insertions'),
    head('CTC loss', 'ctc_loss'));
}

function figuresRow(group) {
  const {word, character} = group;
  const isReference = group.profile === DATA.reference_profile;
  const cell = (...content) => el('td', {class: 'number'}, ...content);
  return el('tr', {},
    el('th', {scope: 'row'}, profileSign(group.profile), group.profile),
    DATA.models.length > 1 ? el('td', {}, group.model) : null,
    cell(count(group.n_clips)),
    cell(minutes(group.seconds)),
    cell(...estimate(percent(word.rate.value), word.rate, 'strong')),
    cell(...(isReference ? ['reference']
      : estimate(points(group.word_delta.value), group.word_delta))),
    cell(...estimate(percent(character.rate.value), character.rate)),
    cell(count(word.substitutions)), cell(count(word.deletions)), cell(count(word.insertions)),
    cell(isMissing(group.ctc_loss) ? MISSING : fixed(group.ctc_loss, 1)));
}

function minutes(seconds) {
  if (isMissing(seconds)) return MISSING;
  return seconds < 6000 ? fixed(seconds / 60, 1) : count(seconds / 60);
}

/** A figure over its interval. */
function estimate(text, {low, high}, tag = 'span') {
  const range = percentRange(low, high);
  return [el(tag, {}, text), range ? el('small', {'data-definition': 'interval'}, range) : null];
}

function truncationNote(groups) {
  const truncated = Math.max(0, ...groups.map((group) => group.n_truncated));
  const interval = 'Small figures: 95 % bootstrap intervals over clips.';
  if (!truncated) return interval;
  const are = truncated === 1 ? 'is' : 'are';
  const cut = 'longer than the model’s window and cut';
  return `${interval} ${plural(truncated, 'clip')} ${are} ${cut}.`;
}
