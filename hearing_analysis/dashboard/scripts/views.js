// The views: one is shown at a time, each is drawn when it is first looked at and when it changes.

const VIEWS = [
  {key: 'overview', label: 'Overview', section: 'view-overview', clip: false},
  {key: 'map', label: 'Map', section: 'view-explore', clip: true},
  {key: 'clusters', label: 'Clusters', section: 'view-clusters', clip: true},
  {key: 'metrics', label: 'Metrics', section: 'view-metrics', clip: false},
  {key: 'words', label: 'Words', section: 'view-words', clip: true},
  {key: 'samples', label: 'Samples', section: 'view-explore', clip: true},
  {key: 'insights', label: 'Insights', section: 'view-insights', clip: true},
  {key: 'mining', label: 'Mining', section: 'view-mining', clip: true},
  {key: 'compare', label: 'Compare', section: 'view-compare', clip: true},
];
const VIEW_KEYS = VIEWS.map(({key}) => key);

const hasView = (key) => (key === 'clusters' ? DATA.clusterings.length > 0
  : key === 'mining' ? DATA.mining !== null
  : key === 'compare' ? DATA.models.length > 1 : true);

const stale = new Set();
const drawers = new Map();

/** Draw a view with `draw` when it is looked at, again after one of `keys` has changed. */
function drawView(key, keys, draw) {
  drawers.set(key, draw);
  stale.add(key);
  onChange(keys, () => {
    stale.add(key);
    drawIfShown(key);
  });
}

function drawIfShown(key) {
  if (state.view !== key || !stale.delete(key)) return;
  drawers.get(key)();
}

function startViews() {
  byId('views').append(...VIEWS.filter(({key}) => hasView(key)).map(({key, label}) =>
    el('button', {type: 'button', class: 'tab', 'data-view': key, onclick: () => setState({view: key})},
      label)));
  onChange(['view'], showView);
}

function showView() {
  const {section, clip} = VIEWS.find(({key}) => key === state.view);
  document.querySelector('main').dataset.view = state.view;
  for (const other of document.querySelectorAll('.view')) other.hidden = other.id !== section;
  byId('sample').hidden = !clip;
  for (const tab of byId('views').children) {
    tab.setAttribute('aria-current', tab.dataset.view === state.view ? 'page' : 'false');
  }
  byId('map-panel').hidden = state.view !== 'map';
  if (drawers.has(state.view)) drawIfShown(state.view);
}
