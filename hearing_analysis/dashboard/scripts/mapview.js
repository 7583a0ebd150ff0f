// The map panel: menus, tools, legend, hovering, clicking, zooming.

const TOOLS = [
  {key: 'pan', label: 'Move', title: 'Drag moves the map, a click selects'},
  {key: 'lasso', label: 'Lasso', title: 'Drag around samples to select them (L)'},
  {key: 'box', label: 'Box', title: 'Drag over samples to select them (B)'},
];
const MAP_KEYS = [...FILTER_KEYS, 'colour', 'size', 'projection', 'theme'];

function startMap() {
  byId('map-title').replaceChildren(term('Map', 'map'));
  byId('projection').append(...LATENT.projections.map(({key, label}) => option(key, label)));
  bindSelect(byId('projection'), 'projection');
  const names = [...COLUMNS.keys()].filter((name) => name !== 'sample_id');
  bindColumnMenu('colour', 'colour', names);
  bindColumnMenu('size', 'size', names.filter((name) => COLUMNS.get(name).role === 'number'),
    {none: 'all alike'});
  bindColumnMenu('hover', 'hover', names, {none: 'colour'});
  startTools();
  followPointer(byId('map-overlay'));
  byId('zoom-in').addEventListener('click', () => zoomBy(1.5));
  byId('zoom-out').addEventListener('click', () => zoomBy(1 / 1.5));
  byId('zoom-reset').addEventListener('click', resetZoom);
  onChange(['projection'], () => {
    resetZoom();
    if (state.lasso && parseLasso(state.lasso).key !== state.projection) setState({lasso: ''});
  });
  drawView('map', MAP_KEYS, showMap);
  onChange(['sample', 'arrows', 'tool'], () => { if (state.view === 'map') drawOverlay(); });
  new ResizeObserver(() => { if (state.view === 'map') showMap(); }).observe(byId('plot'));
}

function startTools() {
  byId('tools').append(...TOOLS.map(({key, label, title}) => el('button', {
    type: 'button', class: 'quiet', title, 'data-tool': key, onclick: () => setState({tool: key}),
  }, label)));
  byId('arrows').addEventListener('click', () => setState({arrows: state.arrows ? '' : 'all'}));
  const show = () => {
    for (const button of byId('tools').children) {
      button.setAttribute('aria-pressed', String(button.dataset.tool === state.tool));
    }
    byId('arrows').setAttribute('aria-pressed', String(Boolean(state.arrows)));
    byId('map-overlay').dataset.tool = state.tool;
  };
  onChange(['tool', 'arrows'], show);
  show();
}

function resetZoom() {
  Object.assign(plot, {zoom: 1, centre: {x: 0, y: 0}});
  if (state.view === 'map') drawMap();
}

function showMap() {
  drawMap();
  const {column} = plot.scale;
  const byProfile = column.name === 'profile_name'; // then the shapes say it all
  const legend = plot.scale.kind === 'number' ? numericLegend : categoricalLegend;
  byId('map-legend').replaceChildren(
    ...(byProfile ? [] : [legend(plot.scale)]), shapeLegend(byProfile));
  byId('map-overlay').setAttribute('aria-label',
    `${plural(view.rows.length, 'sample')} coloured by ${column.description.label}; `
    + 'choose one here or in the table.');
}

function numericLegend({column, low, high, least, most, empty}) {
  if (empty) return el('p', {class: 'note'}, `${column.description.label} has no values here.`);
  const gradient = svg('linearGradient', {id: 'scale'}, VIRIDIS.map((colour, i) =>
    svg('stop', {offset: i / (VIRIDIS.length - 1), 'stop-color': colour})));
  const bar = svg('svg', {class: 'scale', viewBox: '0 0 200 10', preserveAspectRatio: 'none'},
    svg('defs', {}, gradient), svg('rect', {width: 200, height: 10, rx: 2, fill: 'url(#scale)'}));
  const text = (value) => columnText(column, value, true);
  return el('div', {class: 'numeric'},
    el('span', {}, (least < low ? '≤ ' : '') + text(low)), bar,
    el('span', {}, (most > high ? '≥ ' : '') + text(high)));
}

function categoricalLegend({column, colours, categories, others, nOthers, missing}) {
  const entry = (colour, text, n) => el('span', {},
    el('i', {style: {background: colour}}), `${text} `, el('small', {}, count(n)));
  const entries = categories.map(({text, n}, i) =>
    entry(colours[i], shortenMiddle(text || '(empty)', 24), n));
  if (others) entries.push(entry(colours[categories.length], plural(nOthers, 'other'), others));
  if (missing) entries.push(entry(colours[colours.length - 1], 'missing', missing));
  return el('div', {class: 'legend', 'aria-label': column.description.label}, entries);
}

function shapeLegend(coloured) {
  return el('div', {class: coloured ? 'legend' : 'legend shapes'}, DATA.profiles.map((profile) =>
    el('span', {}, profileSign(profile, 4), profile)));
}

/** Hover shows, a click selects, dragging moves or draws, ctrl and the wheel (a pinch) zooms. */
function followPointer(canvas) {
  let grip = null;
  canvas.addEventListener('pointerdown', (event) => {
    grip = {x: event.offsetX, y: event.offsetY, moved: false};
    if (state.tool !== 'pan') {
      if (event.isTrusted) canvas.setPointerCapture(event.pointerId);
      beginLasso(event);
    }
  });
  canvas.addEventListener('pointermove', (event) => {
    if (grip && event.buttons && state.tool !== 'pan') extendLasso(grip, event);
    else if (grip && event.buttons) dragMap(grip, event);
    else hoverAt(event);
  });
  canvas.addEventListener('pointerup', (event) => {
    if (grip && !grip.moved) selectRow(rowAt(event.offsetX, event.offsetY));
    else if (grip && state.tool !== 'pan') finishLasso();
    grip = null;
  });
  canvas.addEventListener('pointerleave', () => {
    if (state.tool === 'pan') grip = null;
    byId('map-tip').hidden = true;
    drawOverlay();
  });
  canvas.addEventListener('wheel', (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoomBy(Math.exp(-event.deltaY / 200), event.offsetX, event.offsetY);
  }, {passive: false});
}

function dragMap(grip, event) {
  const [dx, dy] = [event.offsetX - grip.x, event.offsetY - grip.y];
  if (!grip.moved && Math.hypot(dx, dy) < 4) return;
  byId('map-tip').hidden = true;
  plot.centre.x -= dx * plot.unitsPerPixel;
  plot.centre.y += dy * plot.unitsPerPixel;
  Object.assign(grip, {x: event.offsetX, y: event.offsetY, moved: true});
  drawMapSoon();
}

/** Zoom around a place on screen (the middle unless told), which stays where it is. */
function zoomBy(factor, left = plot.width / 2, top = plot.height / 2) {
  const zoom = Math.min(Math.max(plot.zoom * factor, 1), 200);
  const before = plot.zoom;
  const kept = plot.unitsPerPixel * (1 - before / zoom);
  plot.centre.x += (left - plot.width / 2) * kept;
  plot.centre.y -= (top - plot.height / 2) * kept;
  plot.zoom = zoom;
  plot.unitsPerPixel *= before / zoom;
  drawMapSoon();
}

function hoverAt({offsetX, offsetY}) {
  const row = rowAt(offsetX, offsetY);
  const tip = byId('map-tip');
  byId('map-overlay').classList.toggle('pointing', row >= 0);
  drawOverlay(row);
  tip.hidden = row < 0;
  if (row < 0) return;
  tip.replaceChildren(...tipContent(row));
  tip.style.left = `${Math.max(0, Math.min(offsetX + 14, plot.width - tip.offsetWidth))}px`;
  const above = offsetY + 16 + tip.offsetHeight > plot.height;
  tip.style.top = `${above ? offsetY - tip.offsetHeight - 10 : offsetY + 16}px`;
}

function tipContent(row) {
  const column = COLUMNS.get(state.hover || plot.scale.column.name);
  const figures = [`WER ${percent(valueAt('word_error_rate', row))}`];
  if (!['word_error_rate', 'profile_name', 'id'].includes(column.name)) {
    const value = columnText(column, valueAt(column.name, row), true);
    figures.push(`${column.description.label} ${shortenMiddle(String(value), 40)}`);
  }
  const profile = textAt('profile_name', row);
  return [
    el('strong', {}, profileSign(profile, 4), `${profile} · ${textAt('id', row)}`),
    el('span', {}, shorten(textAt('reference', row), 200)),
    el('span', {class: 'heard'}, shorten(textAt('hypothesis', row), 200) || 'nothing recognised'),
    el('small', {}, figures.join(' · ')),
  ];
}
