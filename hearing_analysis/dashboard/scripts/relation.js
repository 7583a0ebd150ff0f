// Any metric over any column, binned, with intervals, a line per profile. A bin selects its samples.

const RELATION = {least: 640, height: 330, left: 64, right: 16, top: 14, bottom: 58};
const MAX_VALUES_SHOWN = 12;

function startRelation() {
  byId('view-metrics').append(
    el('div', {class: 'panel'},
      el('div', {class: 'panel-head'}, el('h2', {}, 'Metrics against metadata'),
        field('Metric', 'metric'), field('over', 'by'), field('and', 'and'), field('per', 'per'),
        field('bins', 'bins')),
      el('div', {id: 'relation'})),
    el('div', {class: 'panel below'},
      el('h2', {}, 'Ready-made questions'), el('div', {id: 'findings', class: 'findings'})));
  byId('metric').append(...metricOptions());
  bindSelect(byId('metric'), 'metric');
  const names = [...COLUMNS.values()].filter(({role, name}) => role !== 'text' && name !== 'x'
    && name !== 'y').map(({name}) => name);
  bindColumnMenu('by', 'by', names);
  bindColumnMenu('and', 'and', names, {none: 'no second column'});
  byId('per').append(option('', 'all together'), option('profile_name', 'profile'),
    option('split', 'split'));
  bindSelect(byId('per'), 'per');
  byId('bins').append(...[3, 4, 5, 6, 8, 10, 15, 20].map((n) => option(String(n), String(n))));
  bindSelect(byId('bins'), 'bins');
  window.addEventListener('resize', () => { if (state.view === 'metrics') showRelation(); });
  drawView('metrics', [...FILTER_KEYS, 'metric', 'by', 'and', 'per', 'bins', 'theme'], showRelation);
}

const field = (label, id) => el('label', {}, `${label} `, el('select', {id}));

function showRelation() {
  const metric = METRICS.get(state.metric);
  byId('relation').replaceChildren(
    ...(state.and ? heatMap(metric, state.by, state.and) : relationChart(metric, state.by)));
  showFindings();
}

function relationChart(metric, name) {
  const bins = binsOf(name, view.rows, Number(state.bins));
  if (!bins.length) return [el('p', {class: 'note'}, 'No sample in view has a value here.')];
  const lines = linesOf(metric, bins);
  return [lineLegend(metric, name, lines), relationPlot(metric, name, bins, lines),
    el('p', {class: 'note', 'data-definition': 'live'}, `${binningText(name, bins)} `
      + 'Whiskers are 95 % intervals. A click on a point selects the samples of its bin.')];
}

const binningText = (name, bins) => (bins[0].high === undefined ? 'A column per value.'
  : 'Bins hold about as many samples each.');

/** Bins of a column over rows: {condition, label, test}. Categories are bins of their own. */
function binsOf(name, rows, n) {
  return COLUMNS.get(name).role === 'number' ? rangesOf(name, rows, n) : valuesOf(name, rows);
}

function rangesOf(name, rows, n) {
  const column = COLUMNS.get(name);
  const values = numbersOf(name);
  const known = Array.from(rows, (row) => values[row]).filter(Number.isFinite);
  const distinct = [...new Set(known)];
  if (distinct.length <= n) {
    return distinct.sort((a, b) => a - b).map((value) => rangeBin(column, values, value, value));
  }
  const edges = quantileEdges(known, n);
  return edges.slice(1).map((high, i) => rangeBin(column, values, edges[i], high, i > 0))
    .map((bin) => narrowed(bin, column, values, rows)).filter(Boolean);
}

function rangeBin(column, values, low, high, open = false) {
  const test = (row) => (open ? values[row] > low : values[row] >= low) && values[row] <= high;
  return {name: column.name, low, high, test, label: rangeText(column, low, high)};
}

/** A bin from its least to its largest value, so that its label and its condition are exact. */
function narrowed(bin, column, values, rows) {
  let low = Infinity;
  for (const row of rows) if (bin.test(row) && values[row] < low) low = values[row];
  return low > bin.high ? null : {...bin, low, label: rangeText(column, low, bin.high)};
}

function rangeText(column, low, high) {
  const [from, to] = [columnText(column, low), columnText(column, high)];
  return from === to ? from : `${from} – ${to}`;
}

function valuesOf(name, rows) {
  const {dictionary} = COLUMNS.get(name).values;
  const codes = arrayOf(COLUMNS.get(name));
  const frequency = new Uint32Array(dictionary.length);
  for (const row of rows) frequency[codes[row]]++;
  const shown = orderCategories(COLUMNS.get(name), dictionary, frequency).slice(0, MAX_VALUES_SHOWN);
  return shown.map((code) => ({
    name, value: dictionary[code], label: dictionary[code] || '(empty)',
    test: (row) => codes[row] === code,
  }));
}

const binCondition = ({name, low, high, value}) =>
  (low === undefined ? [name, value] : [name, low, high]);

/** A line per profile or split: {text, colour, sign, estimates}, an estimate per bin. */
function linesOf(metric, bins) {
  const groups = state.per === 'profile_name'
    ? rowsByProfile().map(({profile, rows}) =>
      ({text: profile, colour: profileColour(profile), profile, rows}))
    : state.per === 'split'
      ? splitRows(view.rows, 'split', DATA.splits).map((rows, i) =>
        ({text: DATA.splits[i], colour: `var(--c${i % N_CATEGORIES})`, rows}))
      : [{text: 'all', colour: 'var(--accent)', rows: [...view.rows]}];
  return groups.filter(({rows}) => rows.length).map((group) => ({
    ...group, estimates: bins.map((bin) => metric.estimate(group.rows.filter(bin.test))),
  }));
}

function lineLegend(metric, name, lines) {
  const isNumber = COLUMNS.get(name).role === 'number';
  return el('p', {class: 'legend'}, lines.map(({text, colour, profile, rows}) => {
    const rho = isNumber ? spearman(rows, columnOf(name), metric.valueOf) : NaN;
    return el('span', {}, profile ? profileSign(profile) : el('i', {style: {background: colour}}),
      text, isMissing(rho) ? null
        : el('small', {'data-definition': 'spearman'}, `ρ ${fixed(rho, 2)}`));
  }));
}

function relationPlot(metric, name, bins, lines) {
  const {least, height, left, right, top, bottom} = RELATION;
  const width = Math.max(least, byId('relation').clientWidth);
  const shown = lines.flatMap(({estimates}) => estimates).filter(({value}) => !isMissing(value));
  if (!shown.length) return el('p', {class: 'note'}, `${metric.label} is not known here.`);
  const ends = shown.flatMap(({value, low, high}) => [value, low, high]).filter(Number.isFinite);
  // A whisker may reach below 0 where a rate cannot.
  const floor = shown.every(({value}) => value >= 0) ? 0 : -Infinity;
  const lowest = metric.percent ? Math.min(0, ...ends) : Math.min(...ends);
  const ticks = ticksBetween(Math.max(lowest, floor), Math.max(...ends), 5);
  const y = scaleBetween(ticks[0], ticks[ticks.length - 1], height - bottom, top);
  const pitch = (width - left - right) / bins.length;
  const x = (i, k) => left + (i + 0.5) * pitch + (k - (lines.length - 1) / 2) * Math.min(12, pitch / 8);
  const room = pitch - 6;
  return svg('svg', {class: 'chart', viewBox: `0 0 ${width} ${height}`, role: 'img',
    'aria-label': `${metric.label} by ${COLUMNS.get(name).description.label}`},
  levelGrid(ticks, y, left, width - right, tickText(metric, ticks)),
  axisTitle(metric.label, 13, (top + height - bottom) / 2),
  bins.map(({label}, i) => svg('text', {class: 'tick', x: left + (i + 0.5) * pitch,
    y: height - bottom + 18, 'text-anchor': 'middle'}, fitting(label, room), svg('title', {}, label))),
  svg('text', {class: 'axis', x: (left + width - right) / 2, y: height - 12, 'text-anchor': 'middle'},
    withUnit(COLUMNS.get(name))),
  lines.map((line, k) => lineMarks(metric, line, bins, (i) => x(i, k), (value) => y(Math.max(value, ticks[0])))));
}

const withUnit = ({description: {label, unit}}) => (unit && unit !== '%' ? `${label} (${unit})` : label);

const axisTitle = (text, x, y) => svg('text', {class: 'axis', 'text-anchor': 'middle',
  transform: `translate(${x} ${y}) rotate(-90)`}, text);

function lineMarks(metric, {text, colour, profile, estimates}, bins, x, y) {
  const known = estimates.map((estimate, i) => ({...estimate, i}))
    .filter(({value}) => !isMissing(value));
  const path = known.map(({value, i}) => `${x(i).toFixed(1)} ${y(value).toFixed(1)}`).join('L');
  const isRange = bins[0].low !== undefined;
  return svg('g', {},
    isRange && known.length > 1 ? svg('path', {class: 'curve', d: `M${path}`, style: {stroke: colour}})
      : null,
    known.map((estimate) => svg('g', {},
      uprightWhisker(x(estimate.i), estimate.low, estimate.high, y, colour),
      svg('path', {
        class: 'point bin', d: profile ? shapePath(profile, 5.5) : SHAPES[0](5),
        transform: `translate(${x(estimate.i)} ${y(estimate.value)})`, style: {fill: colour},
        'data-bin': estimate.i, tabindex: 0, role: 'button',
        onclick: () => setCondition(binCondition(bins[estimate.i])),
        onkeydown: (event) => {
          if (event.key === 'Enter') setCondition(binCondition(bins[estimate.i]));
        },
      }, svg('title', {}, `${text}, ${bins[estimate.i].label}: ${estimateText(metric, estimate)}, `
        + plural(estimate.n, 'sample'))))));
}
