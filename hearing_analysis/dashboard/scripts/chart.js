// Word error rate by profile: bars of substitutions, deletions and insertions, interval whiskers.

const ERROR_KINDS = [
  {key: 'substitutions', letter: 'S', colour: 'var(--substitution)'},
  {key: 'deletions', letter: 'D', colour: 'var(--deletion)'},
  {key: 'insertions', letter: 'I', colour: 'var(--insertion)'},
];
const BAR = {height: 22, left: 96, right: 64, axis: 26};
// Few bars stand further apart, so that the panel is filled; many move together.
const barPitch = (n) => (n <= 4 ? 46 : 34);

function showChart(groups) {
  const kinds = ERROR_KINDS.map(({key, letter, colour}) =>
    el('span', {'data-definition': key},
      el('i', {style: {background: colour}}), `${letter} ${key}`));
  byId('chart-legend').replaceChildren(...kinds,
    el('span', {'data-definition': 'interval'}, el('i', {class: 'whisker'}), '95 % interval'));
  const drawn = groups.filter((group) => !isMissing(group.word.rate.value));
  byId('chart').replaceChildren(drawn.length ? chartOf(drawn) : el('p', {class: 'note'},
    'No reference words in this split, so there is no word error rate.'));
}

function chartOf(groups) {
  const labelled = DATA.models.length > 1;
  const left = labelled ? BAR.left + 90 : BAR.left;
  const width = Math.max(byId('chart').clientWidth, 420);
  const pitch = barPitch(groups.length);
  const height = groups.length * pitch + BAR.axis;
  const largest = Math.max(0.01, ...groups.map(farEnd));
  const ticks = niceTicks(largest, 5);
  const x = (rate) => left + (rate / ticks[ticks.length - 1]) * (width - left - BAR.right);
  const floor = height - BAR.axis + 4;
  const chart = svg('svg', {
    class: 'chart', viewBox: `0 0 ${width} ${height}`, role: 'img',
    'aria-label': `Word error rate: ${groups.map(describeBar).join('; ')}`,
  });
  for (const tick of ticks) {
    chart.append(
      svg('line', {class: 'grid', x1: x(tick), x2: x(tick), y1: 0, y2: floor}),
      svg('text', {class: 'tick', x: x(tick), y: height - 6, 'text-anchor': 'middle'},
        percent(tick, ticks[1] < 0.01 ? 1 : 0)));
  }
  groups.forEach((group, i) => {
    const label = labelled ? `${group.profile} · ${group.model}` : group.profile;
    chart.append(barOf(group, x, i * pitch + (pitch - BAR.height) / 2, label));
  });
  return chart;
}

const describeBar = ({profile, model, word}) =>
  `${profile}, ${model}: ${percent(word.rate.value)}`;

/** Where bar and whisker end. */
const farEnd = ({word: {rate}}) => Math.max(rate.value, rate.high ?? 0);

function barOf(group, x, y, label) {
  const {profile, word} = group;
  const bar = svg('g', {}, svg('text', {
    class: 'label', x: x(0) - 10, y: y + BAR.height / 2, 'text-anchor': 'end',
    'dominant-baseline': 'central',
  }, shorten(label, 26)));
  let start = 0;
  for (const {key, colour} of ERROR_KINDS) {
    const share = word[key] / word.reference_length;
    const title = `${profile}: ${count(word[key])} ${key}, `
      + `${percent(share)} of the reference words`;
    bar.append(svg('rect', {
      x: x(start), y, height: BAR.height, style: {fill: colour},
      width: Math.max(x(start + share) - x(start) - 1, 0),
    }, svg('title', {}, title)));
    start += share;
  }
  const {value, low, high} = word.rate;
  const middle = y + BAR.height / 2;
  if (!isMissing(low)) bar.append(whisker(x(low), x(high), middle));
  bar.append(svg('text', {
    class: 'value', x: x(farEnd(group)) + 8, y: middle, 'dominant-baseline': 'central',
  }, percent(value)));
  return bar;
}

function whisker(from, to, y) {
  const d = `M${from} ${y}H${to}M${from} ${y - 5}v10M${to} ${y - 5}v10`;
  return svg('g', {}, svg('path', {class: 'whisker halo', d}), svg('path', {class: 'whisker', d}));
}

/** About n round steps from 0 to at least `largest`. */
function niceTicks(largest, n) {
  const rough = largest / n;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= rough - 1e-12);
  return Array.from({length: Math.ceil(largest / step - 1e-9) + 1}, (_, i) => i * step);
}
