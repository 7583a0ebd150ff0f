// Two models on the same clips: paired differences, and a cloud in which a click selects a clip.

const CLOUD = {size: 420, left: 56, bottom: 44, top: 10, right: 24};

const cloud = {places: [], rows: []};

function startCompare() {
  if (!hasView('compare')) return;
  byId('view-compare').append(
    el('div', {class: 'panel'}, el('div', {class: 'panel-head'}, el('h2', {}, 'Compare models'),
      field('First', 'first'), field('second', 'second')),
    el('div', {class: 'scroll', id: 'comparison'})),
    el('div', {class: 'compare below'},
      el('div', {class: 'panel'}, el('h2', {}, 'Word error rate of each clip'),
        el('div', {class: 'cloud'}, el('canvas', {id: 'cloud', role: 'img', 'aria-label':
          'Word error rate of the second model over that of the first, a point per sample'}),
        el('div', {id: 'cloud-axes'})),
        el('p', {class: 'note'}, 'Below the line the second model is better. A click selects a sample to '
          + 'listen to.')),
      el('div', {class: 'panel'}, el('h2', {}, 'Largest differences in view'),
        el('div', {id: 'differences'}))));
  for (const id of ['first', 'second']) {
    byId(id).append(...DATA.models.map((model) => option(model, model)));
    bindSelect(byId(id), id);
  }
  byId('cloud').addEventListener('click', pickFromCloud);
  drawView('compare', [...FILTER_KEYS, 'first', 'second', 'theme'], showCompare);
  onChange(['sample'], () => { if (state.view === 'compare') drawCloud(); });
}

function showCompare() {
  byId('comparison').replaceChildren(comparisonTable());
  cloud.rows = pairedRows();
  drawCloud();
  byId('differences').replaceChildren(differenceLists());
}

function comparisonTable() {
  const found = DATA.comparisons.filter(({split, first, second}) => split === state.split
    && [first, second].includes(state.first) && [first, second].includes(state.second));
  if (state.first === state.second || !found.length) {
    return el('p', {class: 'note'}, 'Choose two different models.');
  }
  return el('table', {id: 'comparison-table'}, columnHead([['Profile', 'profile', true], ['Clips', 'clips'],
    [`WER, ${state.first}`, 'wer'], [`WER, ${state.second}`, 'wer'], ['Difference, points', 'delta'],
    ['p', 'delta'], ['CER difference', 'cer'], ['Better'], ['Worse'], ['Equal']]),
  el('tbody', {}, found.map((pair) => comparisonRow(pair, pair.first === state.first ? 1 : -1))));
}

function comparisonRow(pair, sign) {
  const rates = [pair.first_rate, pair.second_rate];
  const outcomes = [pair.n_better, pair.n_worse];
  if (sign < 0) [rates, outcomes].forEach((two) => two.reverse());
  const cell = (...content) => el('td', {class: 'number'}, ...content);
  const difference = ({value, low, high}) => (isMissing(value) ? [MISSING]
    : [points(sign * value), el('small', {},
      percentRange(...(sign < 0 ? [-high, -low] : [low, high])))]);
  return el('tr', {}, el('th', {scope: 'row'}, profileSign(pair.profile), pair.profile),
    cell(count(pair.n_clips)), ...rates.map((rate) => cell(percent(rate))),
    cell(...difference(pair.word)), cell(pText(pair.word.p_value)), cell(...difference(pair.character)),
    ...outcomes.map((n) => cell(count(n))), cell(count(pair.n_equal)));
}

/** Samples that both models have, as far as filters allow: [{first, second}]. */
function pairedRows() {
  const test = allTests(filterTests());
  const key = (row) => CLIP_OF_ROW[row] * DATA.profiles.length
    + DATA.profiles.indexOf(textAt('profile_name', row));
  const second = new Map();
  for (const row of rowsOfModel(state.second)) second.set(key(row), row);
  return [...rowsOfModel(state.first)].filter((row) => test(row) && second.has(key(row)))
    .map((row) => ({first: row, second: second.get(key(row))}));
}

function drawCloud() {
  const canvas = byId('cloud');
  const {size, left, bottom, top, right} = CLOUD;
  const density = window.devicePixelRatio || 1;
  canvas.width = canvas.height = size * density;
  const context = canvas.getContext('2d');
  context.scale(density, density);
  const rates = numbersOf('word_error_rate');
  const most = Math.max(1, ...[0.995].map((share) => highQuantile(share, rates)));
  const ticks = ticksBetween(0, most, 4);
  const end = ticks[ticks.length - 1];
  const x = scaleBetween(0, end, left, size - right);
  const y = scaleBetween(0, end, size - bottom, top);
  cloudAxes(context, ticks, x, y);
  cloud.places = cloud.rows.map(({first, second}) => {
    // Rates of short sentences coincide: a fixed scatter of a few pixels shows how many there are.
    const [dx, dy] = [((first * 0.618) % 1) - 0.5, ((first * 0.414) % 1) - 0.5];
    return [x(Math.min(rates[first], end)) + 8 * dx, y(Math.min(rates[second], end)) + 8 * dy];
  });
  const chosen = selectedRow();
  context.globalAlpha = 0.75;
  cloud.rows.forEach(({first, second}, i) => {
    cloudPoint(context, first, cloud.places[i], chosen === first || chosen === second);
  });
  context.globalAlpha = 1;
}

function highQuantile(share, rates) {
  const values = Float64Array.from(cloud.rows.flatMap(({first, second}) => [rates[first], rates[second]]))
    .sort();
  return values[Math.floor(share * (values.length - 1))] ?? 1;
}

function cloudAxes(context, ticks, x, y) {
  const {size, left, bottom} = CLOUD;
  context.font = '11px system-ui, sans-serif';
  for (const tick of ticks) {
    context.strokeStyle = cssColour('--line');
    context.beginPath();
    context.moveTo(x(tick), y(0));
    context.lineTo(x(tick), y(ticks[ticks.length - 1]));
    context.moveTo(x(0), y(tick));
    context.lineTo(x(ticks[ticks.length - 1]), y(tick));
    context.stroke();
    context.fillStyle = cssColour('--muted');
    context.textAlign = 'center';
    context.fillText(percent(tick, 0), x(tick), size - bottom + 16);
    context.textAlign = 'right';
    context.fillText(percent(tick, 0), left - 6, y(tick) + 4);
  }
  context.textAlign = 'center';
  context.fillText(shorten(state.first, 40), (left + size) / 2, size - 8);
  context.save();
  context.translate(11, (size - bottom) / 2);
  context.rotate(-Math.PI / 2);
  context.fillText(shorten(state.second, 40), 0, 0);
  context.restore();
  context.strokeStyle = cssColour('--muted');
  context.beginPath();
  context.moveTo(x(0), y(0));
  context.lineTo(x(ticks[ticks.length - 1]), y(ticks[ticks.length - 1]));
  context.stroke();
}

function cloudPoint(context, row, [left, top], chosen) {
  const profile = textAt('profile_name', row);
  context.save();
  context.translate(left, top);
  const path = new Path2D(shapePath(profile, chosen ? 6 : 3.5));
  context.fillStyle = cssColour(`--c${DATA.profiles.indexOf(profile) % N_CATEGORIES}`);
  context.fill(path);
  if (chosen) {
    context.strokeStyle = cssColour('--ink');
    context.lineWidth = 2;
    context.stroke(path);
  }
  context.restore();
}

function pickFromCloud({offsetX, offsetY}) {
  let [best, nearest] = [null, REACH ** 2];
  cloud.places.forEach(([left, top], i) => {
    const distance = (left - offsetX) ** 2 + (top - offsetY) ** 2;
    if (distance < nearest) [best, nearest] = [cloud.rows[i], distance];
  });
  if (best) selectRow(best.first);
}

function differenceLists() {
  const edits = numbersOf('word_edits');
  const change = ({first, second}) => edits[second] - edits[first];
  const sorted = [...cloud.rows].sort((a, b) => change(a) - change(b) || a.first - b.first);
  const list = (title, pairs) => el('div', {}, el('h4', {}, title),
    sampleList(pairs.filter((pair) => change(pair)).map(({first}) => first)));
  return el('div', {}, list(`${state.second} makes fewer errors`, sorted.slice(0, 6)),
    list(`${state.second} makes more errors`, sorted.slice(-6).reverse()));
}
