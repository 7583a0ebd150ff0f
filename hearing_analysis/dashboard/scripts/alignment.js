// Reference and hypothesis, word by word. Errors differ in colour, in decoration and by letter.

const OPERATIONS = {
  '=': {name: 'hit', letter: ''},
  's': {name: 'substitution', letter: 'S'},
  'd': {name: 'deletion', letter: 'D'},
  'i': {name: 'insertion', letter: 'I'},
};

/** Aligned words of a row: [{operation, reference, hypothesis}]; null when they do not fit. */
function alignedWords(row) {
  const reference = splitWords(textAt('reference', row));
  const hypothesis = splitWords(textAt('hypothesis', row));
  let [r, h] = [0, 0];
  const words = [...operationsAt(row)].map((operation) => ({
    operation,
    reference: operation === 'i' ? '' : reference[r++],
    hypothesis: operation === 'd' ? '' : hypothesis[h++],
  }));
  return r === reference.length && h === hypothesis.length ? words : null;
}

/** Words as jiwer counts them: runs of white space become one space, words end at a space. */
function splitWords(text) {
  return text.replace(/\s\s+/g, ' ').trim().split(' ').filter(Boolean);
}

const MAX_WORDS_SHOWN = 400; // of a text that no one reads to its end

/** The hypothesis on one line: wrong words marked, missing ones struck out. */
function markedHypothesis(row) {
  const words = alignedWords(row);
  if (words === null) return [shorten(textAt('hypothesis', row), 300)];
  if (words.every(({operation}) => operation === 'd')) return [el('em', {}, 'nothing recognised')];
  return words.slice(0, 60).flatMap(({operation, reference, hypothesis}) => {
    if (operation === '=') return [hypothesis, ' '];
    const tag = operation === 'd' ? 'del' : 'mark';
    const {name} = OPERATIONS[operation];
    return [el(tag, {class: name}, operation === 'd' ? reference : hypothesis), ' '];
  });
}

/** Reference above hypothesis, a column per aligned position. */
function alignmentView(row) {
  const words = alignedWords(row);
  if (words === null) {
    return el('div', {class: 'alignment'}, el('p', {}, textAt('reference', row)),
      el('p', {}, textAt('hypothesis', row)));
  }
  if (!words.length) return el('p', {class: 'note'}, 'Reference and hypothesis are both empty.');
  const confidences = confidencesAt(row);
  let heard = 0;
  const pairs = words.slice(0, MAX_WORDS_SHOWN).map((word) =>
    alignedPair(word, word.operation === 'd' ? NaN : confidences?.[heard++] ?? NaN));
  const left = words.length - pairs.length;
  return el('div', {class: 'alignment', role: 'list'}, pairs,
    left ? el('em', {}, `and ${plural(left, 'more word')}`) : null);
}

function alignedPair({operation, reference, hypothesis}, confidence) {
  const {name, letter} = OPERATIONS[operation];
  const spoken = {
    '=': reference, 's': `${reference} heard as ${hypothesis}`,
    'd': `${reference} missing`, 'i': `${hypothesis} added`,
  }[operation];
  const sure = isMissing(confidence) ? '' : `, confidence ${percent(confidence, 0)}`;
  return el('span', {class: `pair ${name}`, role: 'listitem', 'aria-label': spoken + sure},
    el('span', {class: 'said'}, shorten(reference, 200) || '·'),
    el('span', {class: 'heard'}, shorten(hypothesis, 200) || '·'),
    sure ? svg('svg', {class: 'confidence', viewBox: '0 0 10 1', preserveAspectRatio: 'none',
      'data-definition': 'confidence'}, svg('rect', {width: 10 * confidence, height: 1}),
    svg('title', {}, percent(confidence, 0))) : null,
    el('span', {class: 'letter'}, letter));
}
