// Clusters of the latent space, a card each: size, errors, what sets it apart, its worst clips.

const N_WORST = 3;

function startClusters() {
  if (!hasView('clusters')) return;
  drawView('clusters', FILTER_KEYS, showClusters);
}

function showClusters() {
  const clustering = DATA.clusterings.find(({model}) => model === state.model);
  byId('view-clusters').replaceChildren(
    el('div', {class: 'panel'},
      el('div', {class: 'panel-head'}, el('h2', {}, plural(clustering.n_clusters, 'cluster')),
        el('p', {class: 'note'}, silhouetteText(clustering))),
      silhouetteChart(clustering)),
    el('div', {class: 'cluster-cards'}, clustering.cards.map(clusterCard)));
}

function silhouetteText({n_clusters: n, silhouette, silhouettes}) {
  if (silhouette === null) return 'The table has no latent vectors to judge the clusters by.';
  const best = Object.entries(silhouettes).sort((a, b) => b[1] - a[1])[0];
  return `k-means of the model's latent vectors over all profiles and splits. Silhouette of these ${n}: `
    + `${fixed(silhouette, 2)}; the best of 2 to 10 is ${best[0]} with ${fixed(best[1], 2)}.`;
}

function silhouetteChart({n_clusters: chosen, silhouettes}) {
  const entries = Object.entries(silhouettes).map(([k, score]) => [Number(k), score]);
  if (!entries.length) return null;
  const [width, height, left, bottom] = [520, 110, 40, 20];
  const ticks = ticksBetween(Math.min(0, ...entries.map(([, s]) => s)),
    Math.max(...entries.map(([, s]) => s)), 3);
  const y = scaleBetween(ticks[0], ticks[ticks.length - 1], height - bottom, 8);
  const pitch = (width - left - 10) / entries.length;
  return svg('svg', {class: 'small-chart', viewBox: `0 0 ${width} ${height}`, role: 'img',
    'aria-label': entries.map(([k, s]) => `${k} clusters: ${fixed(s, 2)}`).join('; ')},
  levelGrid(ticks, y, left, width - 10, (tick) => fixed(tick, 1)),
  entries.map(([k, score], i) => svg('g', {},
    svg('rect', {class: k === chosen ? 'bar chosen' : 'bar', x: left + i * pitch + pitch * 0.2,
      width: pitch * 0.6, y: Math.min(y(score), y(0)), height: Math.abs(y(0) - y(score))},
    svg('title', {}, `${k} clusters: ${fixed(score, 3)}`)),
    svg('text', {class: 'tick', x: left + (i + 0.5) * pitch, y: height - 5,
      'text-anchor': 'middle'}, k))));
}

function clusterCard(cluster) {
  const name = String(cluster.cluster);
  const inCluster = textTest('cluster', (text) => text === name);
  const rows = view.rows.filter(inCluster);
  const wer = METRICS.get('wer');
  const chosen = conditions().some(([column, value]) => column === 'cluster' && value === name);
  return el('article', {class: chosen ? 'card chosen' : 'card', 'data-cluster': name},
    el('h3', {}, el('i', {class: 'swatch', style: {background: `var(--c${clusterColour(name)})`}}),
      `Cluster ${name}`),
    el('dl', {class: 'chips'},
      fact('samples', count(cluster.n_samples)), fact('clips', count(cluster.n_clips)),
      fact('samples in view', count(rows.length)),
      fact('WER inside', estimateText(wer, nullToNaN(cluster.inside)), 'live'),
      fact('WER outside', estimateText(wer, nullToNaN(cluster.outside)), 'live'),
      fact('WER in view', estimateText(wer, wer.estimate(rows)), 'live')),
    traitTable(cluster.traits),
    el('h4', {}, 'Worst in view'),
    sampleList(worstRows(rows, N_WORST)),
    el('p', {class: 'buttons'},
      el('button', {type: 'button', class: 'quiet', 'data-select': name,
        onclick: () => (chosen ? removeCondition('cluster') : setCondition(['cluster', name]))},
      chosen ? 'Deselect' : 'Select'),
      el('button', {type: 'button', class: 'quiet', onclick: () => setState({
        view: 'map', colour: 'cluster', where: JSON.stringify([['cluster', name]])})}, 'On the map'),
      el('button', {type: 'button', class: 'quiet',
        onclick: () => exportSamples('csv', view.modelRows.filter(inCluster), `cluster-${name}`)},
      'CSV')));
}

/** The colour that the map gives a cluster: by its name's place among all names. */
function clusterColour(name) {
  const {dictionary} = COLUMNS.get('cluster').values;
  const names = dictionary.filter((text) => text !== null)
    .sort(new Intl.Collator('en', {numeric: true}).compare);
  return names.indexOf(name) % N_CATEGORIES;
}

const nullToNaN = ({value, low, high}) =>
  ({value: value ?? NaN, low: low ?? NaN, high: high ?? NaN});

const fact = (name, text, key = null) =>
  el('div', {'data-definition': key}, el('dt', {}, name), el('dd', {}, text));

const worstRows = (rows, n) => {
  const rates = numbersOf('word_error_rate');
  return [...rows].sort((a, b) => rates[b] - rates[a] || a - b).slice(0, n);
};

function traitTable(traits) {
  if (!traits.length) return el('p', {class: 'note'}, 'No column sets it apart.');
  const head = (text, key) => el('th', {scope: 'col', class: 'number'}, key ? term(text, key) : text);
  return el('table', {class: 'traits'},
    el('thead', {}, el('tr', {}, el('th', {scope: 'col'}, term('What sets it apart', 'trait')),
      head('inside'), head('outside'), head('effect', 'effect'), head('nats', 'trait'))),
    el('tbody', {}, traits.map(traitRow)));
}

function traitRow(trait) {
  const column = COLUMNS.get(trait.column);
  const text = (value) => (trait.value === null ? columnText(column, value) : percent(value, 0));
  const label = trait.value === null ? column.description.label
    : `${column.description.label}: ${shortenMiddle(trait.value, 24)}`;
  const cell = (content) => el('td', {class: 'number'}, content);
  return el('tr', {}, el('th', {scope: 'row'}, term(label, trait.column)),
    cell(text(trait.inside)), cell(text(trait.outside)), cell(fixed(trait.effect, 2)),
    cell(fixed(trait.mutual_information, 2)));
}

/** A short list of samples; a click selects one. */
function sampleList(rows) {
  if (!rows.length) return el('p', {class: 'note'}, 'None.');
  return el('ul', {class: 'sample-list'}, rows.map((row) => el('li', {},
    el('button', {type: 'button', class: 'link', 'data-row': row, title: textAt('id', row),
      onclick: () => selectRow(row)},
    profileSign(textAt('profile_name', row), 4), shorten(textAt('reference', row), 60) || '(empty)'),
    el('span', {class: 'number'}, percent(valueAt('word_error_rate', row), 0)))));
}
