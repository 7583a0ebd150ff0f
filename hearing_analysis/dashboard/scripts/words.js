// Words: how often each is recognised under every profile, and what it is taken for.

const MAX_WORDS = 300;
const MAX_PAIRS = 60;
const MIN_COUNT = 3; // occurrences under a profile; of fewer, accuracy says little
const WORD_ORDERS = [
  {key: 'lost', label: 'most lost against normal'},
  {key: 'worst', label: 'least accurate'},
  {key: 'frequent', label: 'most frequent'},
];

function startWords() {
  byId('view-words').append(el('div', {class: 'words'},
    el('div', {class: 'panel'}, el('div', {class: 'panel-head'},
      el('h2', {}, term('Words', 'word_accuracy')), el('label', {}, 'Order ', el('select', {id: 'words'})),
      el('button', {type: 'button', class: 'quiet', id: 'words-csv'}, 'CSV')),
    el('div', {class: 'scroll tall', id: 'word-table'})),
    el('div', {class: 'column'},
      el('div', {class: 'panel', id: 'phones'}),
      el('div', {class: 'panel'}, el('h2', {}, 'Most frequent substitutions'),
        el('div', {class: 'scroll medium', id: 'substitutions'})),
      el('div', {class: 'panel', id: 'added'}))));
  startNeighbourhoods();
  byId('words').append(...WORD_ORDERS.map(({key, label}) => option(key, label)));
  bindSelect(byId('words'), 'words');
  byId('words-csv').addEventListener('click', exportWords);
  drawView('words', [...FILTER_KEYS, 'words'], showWords);
}

let counted = {words: [], profiles: [], pairs: []};

function showWords() {
  counted = countWords();
  byId('word-table').replaceChildren(wordTable(orderWords(counted).slice(0, MAX_WORDS)));
  byId('substitutions').replaceChildren(pairTable(counted.pairs));
  showPhones();
  showAdded();
}

/** Words in view: {word, said[], hits[], taken}, an entry per profile; and the commonest pairs. */
function countWords() {
  const groups = rowsByProfile();
  const profiles = groups.map(({profile}) => profile);
  const words = new Map();
  groups.forEach(({rows}, p) => {
    for (const row of rows) countRow(row, p, profiles.length, words);
  });
  const entries = [...words.values()];
  return {words: entries, profiles, pairs: commonestPairs(entries)};
}

/** Count the words of a sample; `taken` holds what a word was taken for: Map of counts by profile. */
function countRow(row, p, nProfiles, words) {
  const said = splitWords(textAt('reference', row));
  const heard = splitWords(textAt('hypothesis', row));
  let [r, h] = [0, 0];
  for (const operation of operationsAt(row)) {
    const [reference, hypothesis] = [said[r], heard[h]];
    if (operation !== 'i') r++;
    if (operation !== 'd') h++;
    if (operation === 'i') continue;
    let entry = words.get(reference);
    if (!entry) words.set(reference, entry = newEntry(reference, nProfiles));
    entry.said[p]++;
    if (operation === '=') entry.hits[p]++;
    if (operation === 's') countTaken(entry.taken, hypothesis, p, nProfiles);
  }
}

const zeros = (n) => new Array(n).fill(0);
const sum = (values) => values.reduce((total, n) => total + n, 0);
const newEntry = (word, n) => ({word, said: zeros(n), hits: zeros(n), taken: new Map()});

function countTaken(taken, word, p, nProfiles) {
  const counts = taken.get(word);
  if (counts) counts[p]++;
  else taken.set(word, Object.assign(zeros(nProfiles), {[p]: 1}));
}

/** The most frequent substitutions; only those that can be among them are sorted. */
function commonestPairs(entries) {
  const pairs = entries.flatMap(({word, taken}) =>
    Array.from(taken, ([heard, counts]) => ({said: word, heard, counts, total: sum(counts)})));
  const totals = Uint32Array.from(pairs, ({total}) => total).sort();
  const least = totals[Math.max(0, totals.length - MAX_PAIRS)] ?? 0;
  return pairs.filter(({total}) => total >= least)
    .sort((a, b) => b.total - a.total || (a.said < b.said ? -1 : 1)).slice(0, MAX_PAIRS);
}

const accuracy = ({said, hits}, p) => (said[p] ? hits[p] / said[p] : NaN);
const occurrences = ({said}) => sum(said);
const overallAccuracy = (entry) => sum(entry.hits) / Math.max(1, occurrences(entry));

function orderWords({words, profiles}) {
  const reference = profiles.indexOf(DATA.reference_profile);
  const frequent = words.filter(({said}) => Math.max(...said) >= MIN_COUNT);
  const key = {
    frequent: (entry) => -occurrences(entry),
    worst: overallAccuracy,
    lost: (entry) => (reference < 0 ? overallAccuracy(entry)
      : Math.min(...profiles.map((_, p) => accuracy(entry, p)).filter(Number.isFinite))
        - accuracy(entry, reference)),
  }[state.words];
  return frequent.map((entry) => ({entry, value: key(entry)}))
    .sort((a, b) => (a.value - b.value) || occurrences(b.entry) - occurrences(a.entry)
      || (a.entry.word < b.entry.word ? -1 : 1)).map(({entry}) => entry);
}

function wordTable(words) {
  if (!words.length) {
    return el('p', {class: 'note'}, `No word occurs ${MIN_COUNT} times in view.`);
  }
  return el('table', {class: 'word-table'},
    el('thead', {}, el('tr', {}, el('th', {scope: 'col'}, 'Word'),
      el('th', {scope: 'col', class: 'number'}, 'Said'),
      counted.profiles.map((profile) => el('th', {scope: 'col'}, profileSign(profile, 4), profile)),
      el('th', {scope: 'col'}, 'Taken for'))),
    el('tbody', {}, words.map((entry) => el('tr', {},
      el('th', {scope: 'row'}, el('button', {type: 'button', class: 'link', title: 'Find its samples',
        onclick: () => setState({search: entry.word, view: 'samples'})}, shorten(entry.word, 28))),
      el('td', {class: 'number'}, count(occurrences(entry))),
      counted.profiles.map((profile, p) => accuracyCell(entry, p, profile)),
      el('td', {}, takenFor(entry))))));
}

function accuracyCell(entry, p, profile) {
  const share = accuracy(entry, p);
  if (isMissing(share)) return el('td', {}, MISSING);
  return el('td', {class: 'meter-cell', title: `${count(entry.hits[p])} of ${count(entry.said[p])}`},
    svg('svg', {class: 'meter', viewBox: '0 0 60 8', preserveAspectRatio: 'none', 'aria-hidden': 'true'},
      svg('rect', {class: 'track', width: 60, height: 8}),
      svg('rect', {width: 60 * share, height: 8, style: {fill: profileColour(profile)}})),
    percent(share, 0));
}

const takenFor = ({taken}) => Array.from(taken, ([word, counts]) => [word, sum(counts)])
  .sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, 3).map(([word, n]) => `${shorten(word, 24)} ${count(n)}`).join(', ');

function pairTable(pairs) {
  if (!pairs.length) return el('p', {class: 'note'}, 'No substitution in view.');
  return el('table', {}, el('thead', {}, el('tr', {}, el('th', {scope: 'col'}, 'Said'),
    el('th', {scope: 'col'}, 'Recognised'), counted.profiles.map((profile) =>
      el('th', {scope: 'col', class: 'number'}, profileSign(profile, 4), profile)))),
  el('tbody', {}, pairs.map(({said, heard, counts}) => el('tr', {},
    el('th', {scope: 'row'}, shorten(said, 28)), el('td', {}, shorten(heard, 28)),
    [...counts].map((n) => el('td', {class: 'number'}, n ? count(n) : '·'))))));
}

function exportWords() {
  const names = ['word', ...counted.profiles.flatMap((p) => [`said_${p}`, `recognised_${p}`]), 'taken_for'];
  exportList('words', names, orderWords(counted).map((entry) => [entry.word,
    ...counted.profiles.flatMap((_, p) => [entry.said[p], entry.hits[p]]), takenFor(entry)]));
}
