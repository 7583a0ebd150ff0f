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

/** The hypothesis on one line: wrong words marked, missing ones struck out. */
function markedHypothesis(row) {
  const words = alignedWords(row);
  if (words === null) return [textAt('hypothesis', row)];
  if (words.every(({operation}) => operation === 'd')) return [el('em', {}, 'nothing recognised')];
  return words.flatMap(({operation, reference, hypothesis}) => {
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
  return el('div', {class: 'alignment', role: 'list'}, words.map(alignedPair));
}

function alignedPair({operation, reference, hypothesis}) {
  const {name, letter} = OPERATIONS[operation];
  const spoken = {
    '=': reference, 's': `${reference} heard as ${hypothesis}`,
    'd': `${reference} missing`, 'i': `${hypothesis} added`,
  }[operation];
  return el('span', {class: `pair ${name}`, role: 'listitem', 'aria-label': spoken},
    el('span', {class: 'said'}, reference || '·'),
    el('span', {class: 'heard'}, hypothesis || '·'),
    el('span', {class: 'letter'}, letter));
}
