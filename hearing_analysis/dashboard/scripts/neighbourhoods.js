// Whose neighbours masked words become: matrices of words by where their vectors went.

const WORD_MATRIX = {left: 64, top: 8, bottom: 72, cell: 14, elsewhere: 'other words'};
const DARKENING = ['#f7fbff', '#c6dbef', '#6baed6', '#2171b5', '#08306b'];

function startNeighbourhoods() {
  const found = DATA.neighbourhoods;
  if (!found) return;
  byId('view-words').append(el('div', {class: 'panel below'},
    el('h2', {}, term('Whose neighbour a word becomes', 'neighbourhood')),
    neighbourhoodTable(found),
    el('div', {class: 'matrices'}, found.profiles.map((profile) => el('figure', {},
      el('figcaption', {}, `${profile.profile}: ${percent(profile.words_kept, 0)} of all stay`),
      wordMatrix(found.words, profile)))),
    el('p', {class: 'note'}, `${count(found.segments)} words, embedded as every profile hears them. `
      + `A row is a word, a column what it lies nearest to among the words as ${found.reference} `
      + 'hears them; the darker, the more of the word. Words that are taken for each other stand '
      + 'side by side. Filters do not change it.')));
}

function neighbourhoodTable({profiles}) {
  const figures = [
    ['words_kept', 'Nearest is the same word', (value) => percent(value, 0)],
    ['displacement', 'Displacement', (value) => fixed(value, 2)],
    ['map_at_r', 'MAP@R among its words', (value) => fixed(value, 3)],
    ['map_at_r_of_reference_queries', 'MAP@R asked by the reference', (value) => fixed(value, 3)],
  ];
  return el('div', {class: 'scroll'}, el('table', {},
    el('thead', {}, el('tr', {}, el('th', {scope: 'col'}, 'Profile'),
      figures.map(([, label]) => el('th', {scope: 'col', class: 'number'}, label)))),
    el('tbody', {}, profiles.map((profile) => el('tr', {},
      el('th', {scope: 'row'}, profile.profile),
      figures.map(([key, , text]) => el('td', {class: 'number'},
        profile[key] === null ? MISSING : text(profile[key]))))))));
}

function wordMatrix(words, {profile, counts}) {
  const {left, top, bottom, cell, elsewhere} = WORD_MATRIX;
  const names = [...words, elsewhere];
  const [width, height] = [names.length * cell, words.length * cell];
  return svg('svg', {class: 'word-matrix', viewBox: `0 0 ${left + width + 4} ${top + height + bottom}`,
    role: 'img', 'aria-label': `Words by their nearest word under ${profile}`},
  words.map((word, i) => svg('text', {x: left - 6, y: top + (i + 0.5) * cell,
    'text-anchor': 'end', 'dominant-baseline': 'central'}, shorten(word, 10))),
  names.map((word, i) => svg('text', {'text-anchor': 'end', 'dominant-baseline': 'central',
    transform: `translate(${left + (i + 0.5) * cell} ${top + height + 6}) rotate(-90)`},
  shorten(word, 12))),
  svg('rect', {class: 'ground', x: left, y: top, width, height, style: {fill: DARKENING[0]}}),
  counts.flatMap((row, i) => row.map((n, k) => (n ? matrixCell(row, words[i], names[k], i, k) : null))),
  svg('path', {class: 'grid', d: `M${left + height} ${top}v${height}`}));
}

function matrixCell(row, word, nearest, i, k) {
  const {left, top, cell} = WORD_MATRIX;
  const said = sum(row);
  return svg('rect', {x: left + k * cell, y: top + i * cell, width: cell, height: cell,
    style: {fill: interpolateColour(DARKENING, row[k] / said)}},
  svg('title', {}, `${word} lies nearest to ${nearest}: ${count(row[k])} of ${count(said)}`));
}
