// Whether clips under a hearing loss still find themselves among those of normal hearing.

const MARGINS = {width: 620, height: 250, left: 52, right: 16, top: 12, bottom: 44, bins: 30};
const MAX_LOST = 300;

const mined = {data: null, rank: null, margin: null, found: null};

/** What mining says of every row: arrays, NaN where nothing is known. */
function minedRows() {
  if (mined.data === null) {
    mined.data = heavyData('mining');
    for (const name of ['rank', 'margin', 'found']) mined[name] = decodeArray(mined.data[name]);
    mined.nearest = decodeArray(mined.data.nearest.array);
  }
  return mined;
}

const nearestSentence = (row) => mined.data.nearest.dictionary[mined.nearest[row]] ?? '';

function startMining() {
  if (!DATA.mining) return;
  byId('view-mining').append(el('div', {class: 'words'},
    el('div', {class: 'column'},
      el('div', {class: 'panel'}, el('h2', {}, term('Does a clip find itself?', 'mining')),
        el('div', {class: 'scroll', id: 'mining-table'}), el('p', {class: 'note', id: 'mining-note'})),
      el('div', {class: 'panel'}, el('div', {class: 'panel-head'},
        el('h2', {}, term('How far clips stand out', 'margin')), el('div', {class: 'legend', id: 'margin-legend'})),
      el('div', {id: 'margins'})),
      el('div', {class: 'panel'}, el('div', {class: 'panel-head'},
        el('h2', {}, term('Words that became others', 'confusable')),
        el('button', {type: 'button', class: 'quiet', onclick: exportConfusions}, 'CSV')),
      el('div', {class: 'scroll medium', id: 'confusions'}))),
    el('div', {class: 'column'}, el('div', {class: 'panel'}, el('div', {class: 'panel-head'},
        el('h2', {}, 'Clips that became another'),
        el('button', {type: 'button', class: 'quiet', onclick: exportLost}, 'CSV')),
      el('div', {class: 'scroll tall', id: 'lost'})))));
  drawView('mining', [...FILTER_KEYS, 'theme'], showMining);
}

function showMining() {
  minedRows();
  const groups = minedGroups();
  byId('mining-table').replaceChildren(groups.length ? miningTable(groups)
    : el('p', {class: 'note'}, 'No sample in view was mined.'));
  const {encoder, k, gallery, reference} = DATA.mining;
  byId('mining-note').textContent = `Embedded by ${encoder.split('.').pop()}. Each clip is looked for among `
    + `${plural(gallery, 'clip')} of ${reference}; ${plural(k, 'neighbour')} say what is usual around it. `
    + 'Chance finds almost none.';
  byId('margin-legend').replaceChildren(...groups.map(({profile}) =>
    el('span', {}, profileSign(profile), profile)));
  byId('margins').replaceChildren(marginChart(groups));
  byId('confusions').replaceChildren(confusionTable(shownConfusions()));
  byId('lost').replaceChildren(lostTable(lostRows()));
}

/** Rows in view that were mined, by profile. */
const minedGroups = () => rowsByProfile().map(({profile, rows}) =>
  ({profile, rows: rows.filter((row) => Number.isFinite(mined.rank[row]))}))
  .filter(({rows}) => rows.length);

function miningTable(groups) {
  const share = (rows, missed) => ratioEstimate(rows, missed, ONE);
  const cell = ({value, low, high}) => el('td', {class: 'number'}, percent(value),
    isMissing(low) ? null : el('small', {}, `${percentRange(Math.max(0, low), Math.min(1, high))}`));
  return el('table', {}, columnHead([['Profile', 'profile', true], ['Clips', 'clips'],
    ['xsim error', 'xsim'], ['by cosine', 'xsim_cosine'], ['Median rank', 'mining_rank'],
    ['Median margin', 'margin'], ['Quartiles']]),
  el('tbody', {}, groups.map(({profile, rows}) => {
    const [low, middle, high] = quartiles(rows.map((row) => mined.margin[row]));
    return el('tr', {}, el('th', {scope: 'row', class: 'profile'}, profileSign(profile, 4), profile),
      el('td', {class: 'number'}, count(rows.length)),
      cell(share(rows, (row) => 1 - mined.found[row])),
      cell(share(rows, (row) => Number(mined.rank[row] > 1))),
      el('td', {class: 'number'}, number(quartiles(rows.map((row) => mined.rank[row]))[1])),
      el('td', {class: 'number'}, fixed(middle, 3)),
      el('td', {class: 'number'}, `${fixed(low, 3)}–${fixed(high, 3)}`));
  })));
}

function quartiles(values) {
  const sorted = Float64Array.from(values).filter(Number.isFinite).sort();
  const at = (share) => {
    const place = share * (sorted.length - 1);
    const below = Math.floor(place);
    return sorted[below] + (place - below) * ((sorted[below + 1] ?? sorted[below]) - sorted[below]);
  };
  return sorted.length ? [0.25, 0.5, 0.75].map(at) : [NaN, NaN, NaN];
}

/** The distribution of margins, a line of steps per profile. */
function marginChart(groups) {
  const known = groups.map(({profile, rows}) =>
    ({profile, values: rows.map((row) => mined.margin[row]).filter(Number.isFinite)}))
    .filter(({values}) => values.length);
  if (!known.length) return el('p', {class: 'note'}, 'No margin in view.');
  const {width, height, left, right, top, bottom, bins} = MARGINS;
  const all = known.flatMap(({values}) => values);
  const ends = [1, 1];
  for (const value of all) [ends[0], ends[1]] = [Math.min(ends[0], value), Math.max(ends[1], value)];
  const ticks = ticksBetween(ends[0], ends[1], 6);
  const [low, high] = [ticks[0], ticks[ticks.length - 1]];
  const lines = known.map(({profile, values}) => ({profile, shares: binShares(values, low, high, bins)}));
  const levels = ticksBetween(0, Math.max(...lines.flatMap(({shares}) => shares)), 4);
  const x = scaleBetween(low, high, left, width - right);
  const y = scaleBetween(0, levels[levels.length - 1], height - bottom, top);
  const edge = (i) => x(low + (i / bins) * (high - low));
  return svg('svg', {class: 'chart', viewBox: `0 0 ${width} ${height}`, role: 'img',
    'aria-label': 'Distribution of margins by profile'},
  levelGrid(levels, y, left, width - right, tickText({percent: true}, levels)),
  ticks.map((tick) => svg('text', {class: 'tick', x: x(tick), y: height - bottom + 16,
    'text-anchor': 'middle'}, tickText({}, ticks)(tick))),
  svg('text', {class: 'tick', x: (left + width - right) / 2, y: height - 6, 'text-anchor': 'middle'},
    'margin of a clip with itself (1: no nearer than others)'),
  svg('path', {class: 'margin-one', d: `M${x(1)} ${top}V${height - bottom}`}),
  lines.map(({profile, shares}) => svg('path', {class: 'margin-line',
    style: {stroke: profileColour(profile)},
    d: `M${edge(0)} ${y(0)}${shares.map((share, i) => `V${y(share)}H${edge(i + 1)}`).join('')}V${y(0)}`},
  svg('title', {}, profile))));
}

function binShares(values, low, high, n) {
  const shares = zeros(n);
  for (const value of values) {
    shares[Math.min(n - 1, Math.floor(((value - low) / (high - low)) * n))] += 1 / values.length;
  }
  return shares;
}

const shownConfusions = () => DATA.mining.confusions.filter(({profile}) => !hiddenProfiles().has(profile));

function confusionTable(rows) {
  if (!rows.length) return el('p', {class: 'note'}, 'No word took the place of another.');
  return el('table', {}, el('caption', {}, 'Of all clips that were mined; filters do not change it.'),
    columnHead([['Said', null, true], ['Became', null, true], ['Profile', 'profile', true], ['Clips', 'clips']]),
    el('tbody', {}, rows.map(({profile, said, became, clips}) => el('tr', {},
      el('th', {scope: 'row'}, shorten(said, 28)), el('td', {}, shorten(became, 28)),
      el('td', {class: 'profile'}, profileSign(profile, 4), profile),
      el('td', {class: 'number'}, count(clips))))));
}

/** Rows in view whose nearest clip is another, those that stand out least first. */
const lostRows = () => minedGroups().flatMap(({rows}) => rows.filter((row) => mined.rank[row] > 1))
  .sort((a, b) => mined.rank[b] - mined.rank[a] || a - b);

function lostTable(rows) {
  if (!rows.length) return el('p', {class: 'note'}, 'Every clip in view finds itself.');
  return el('table', {}, columnHead([['Said', null, true], ['Nearest is', null, true],
    ['Profile', 'profile', true], ['Rank', 'mining_rank']]),
  el('tbody', {}, rows.slice(0, MAX_LOST).map((row) => el('tr', {},
    el('th', {scope: 'row'}, el('button', {type: 'button', class: 'link', 'data-row': row,
      onclick: () => selectRow(row)}, shorten(textAt('sentence', row), 48) || '(empty)')),
    el('td', {}, shorten(nearestSentence(row), 48)),
    el('td', {class: 'profile'}, profileSign(textAt('profile_name', row), 4), textAt('profile_name', row)),
    el('td', {class: 'number'}, count(mined.rank[row]))))));
}

function exportConfusions() {
  exportList('confusable-words', ['profile', 'said', 'became', 'clips'],
    shownConfusions().map(({profile, said, became, clips}) => [profile, said, became, clips]));
}

function exportLost() {
  exportList('lost-clips', ['sample', 'sentence', 'nearest_sentence', 'rank', 'margin'],
    lostRows().map((row) => [sampleAddress(row), textAt('sentence', row), nearestSentence(row),
      mined.rank[row], mined.margin[row]]));
}
