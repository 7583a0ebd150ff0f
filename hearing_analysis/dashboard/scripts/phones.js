// Speech sounds by class and profile: which are hurt first. And measures that were joined to the table.

const PHONE_CHART = {width: 520, left: 148, right: 24, top: 24, pitch: 34};

const phones = {data: null, said: null, recognised: null};

function phoneCounts() {
  if (phones.data === null) {
    phones.data = heavyData('phones');
    phones.said = decodeArray(phones.data.said);
    phones.recognised = decodeArray(phones.data.recognised);
  }
  return phones;
}

function showPhones() {
  const {data, said, recognised} = phoneCounts();
  const n = data.classes.length;
  const lines = rowsByProfile().map(({profile, rows}) => ({
    profile,
    estimates: data.classes.map((_, i) => ratioEstimate(rows,
      (row) => recognised[row * n + i], (row) => said[row * n + i])),
  }));
  byId('phones').replaceChildren(
    el('h2', {}, term('Phones recognised, by class', 'phones')),
    phoneChart(data.classes, lines),
    el('p', {class: 'legend'}, lines.map(({profile}) => el('span', {}, profileSign(profile), profile))),
    el('p', {class: 'note'}, `${percent(data.in_dictionary, 0)} of the words said are in the dictionary.`));
}

function phoneChart(classes, lines) {
  const {width, left, right, top, pitch} = PHONE_CHART;
  const height = top + classes.length * pitch + 8;
  const x = scaleBetween(0, 1, left, width - right);
  const metric = METRICS.get('wer'); // shown in percent
  return svg('svg', {class: 'chart', viewBox: `0 0 ${width} ${height}`, role: 'img',
    'aria-label': 'Share of phones recognised by class and profile'},
  [0, 0.25, 0.5, 0.75, 1].flatMap((tick) => [
    svg('line', {class: 'grid', x1: x(tick), x2: x(tick), y1: top - 6, y2: height - 6}),
    svg('text', {class: 'tick', x: x(tick), y: 12, 'text-anchor': 'middle'}, percent(tick, 0))]),
  classes.map((name, i) => svg('text', {x: left - 10, y: top + (i + 0.5) * pitch,
    'text-anchor': 'end', 'dominant-baseline': 'central'}, name)),
  lines.flatMap(({profile, estimates}, k) => estimates.map((estimate, i) => {
    if (isMissing(estimate.value)) return null;
    const y = top + (i + 0.5) * pitch + (k - (lines.length - 1) / 2) * Math.min(8, 22 / lines.length);
    const bounded = (share) => x(Math.min(Math.max(share, 0), 1));
    return svg('g', {},
      isMissing(estimate.low) ? null : svg('path', {class: 'whisker thin',
        d: `M${bounded(estimate.low)} ${y}H${bounded(estimate.high)}`,
        style: {stroke: profileColour(profile)}}),
      svg('path', {class: 'point', d: shapePath(profile, 4.5),
        transform: `translate(${x(estimate.value)} ${y})`, style: {fill: profileColour(profile)}},
      svg('title', {}, `${profile}, ${classes[i]}: ${estimateText(metric, estimate)}`)));
  })));
}

/** Means of the numeric columns that other stages have joined to the table. */
function showAdded() {
  const added = [...COLUMNS.values()].filter(({known, role}) => !known && role === 'number');
  const groups = rowsByProfile();
  byId('added').hidden = !added.length;
  if (!added.length) return;
  byId('added').replaceChildren(el('h2', {}, 'Joined measures'), el('div', {class: 'scroll'}, el('table', {},
    el('thead', {}, el('tr', {}, el('th', {scope: 'col'}, 'Mean'), groups.map(({profile}) =>
      el('th', {scope: 'col', class: 'number'}, profileSign(profile, 4), profile)))),
    el('tbody', {}, added.map(({name, description}) => el('tr', {},
      el('th', {scope: 'row'}, term(description.label, name)),
      groups.map(({rows}) => el('td', {class: 'number'},
        estimateText(METRICS.get(name), METRICS.get(name).estimate(rows))))))))));
}
