// The map on its canvas: where points lie, how they are drawn, which one is under the pointer.

const CELL = 24; // side of a hit-test cell and radius of the hit test, in CSS pixels
const REACH = 12;

const plot = {
  width: 0, height: 0, radius: 4,
  zoom: 1, centre: {x: 0, y: 0}, // what part is shown
  left: new Float32Array(DATA.n_rows), top: new Float32Array(DATA.n_rows), // places on screen
  cells: new Map(),
  scale: null,
  waiting: null, // a frame that has been asked for
};

function drawMap() {
  const context = fitCanvas(byId('map'));
  plot.scale = colourScale(state.colour, view.modelRows);
  placePoints();
  const order = scatteredOrder(view.modelRows);
  const {colours, binOf, nNamed} = plot.scale;
  const [chosen, unchosen] = partition(order, (row) => view.active[row]);
  const [named, others] = partition(chosen, (row) => binOf(row) < nNamed);
  drawPoints(context, unchosen, [cssColour('--unselected')], () => 0, null);
  drawPoints(context, others, colours, binOf, cssColour('--point-edge'));
  drawPoints(context, named, colours, binOf, cssColour('--point-edge'));
  plot.cells = hitCells(view.rows);
  drawOverlay();
}

const partition = (rows, test) => [rows.filter(test), rows.filter((row) => !test(row))];

/** Draw at the next frame, once, however often this is called before. */
function drawMapSoon() {
  plot.waiting ??= requestAnimationFrame(() => {
    plot.waiting = null;
    drawMap();
  });
}

/** Match a canvas to its box and to the density of the screen. */
function fitCanvas(canvas) {
  const box = byId('plot').getBoundingClientRect();
  const density = window.devicePixelRatio || 1;
  [plot.width, plot.height] = [box.width, box.height];
  canvas.width = Math.round(box.width * density);
  canvas.height = Math.round(box.height * density);
  const context = canvas.getContext('2d');
  context.scale(density, density);
  return context;
}

/** Screen place of every point: one scale for both axes, the middle of the cloud in the middle. */
function placePoints() {
  const [xs, ys] = [numbersOf('x'), numbersOf('y')];
  const [spanX, spanY] = [extent(xs), extent(ys)];
  plot.radius = pointRadius(view.modelRows.length);
  const margin = 2 * (plot.radius + 8);
  const scale = plot.zoom * Math.min(
    (plot.width - margin) / (spanX.high - spanX.low || 1),
    (plot.height - margin) / (spanY.high - spanY.low || 1));
  const middleX = (spanX.low + spanX.high) / 2 + plot.centre.x;
  const middleY = (spanY.low + spanY.high) / 2 + plot.centre.y;
  for (const row of view.modelRows) {
    plot.left[row] = plot.width / 2 + (xs[row] - middleX) * scale;
    plot.top[row] = plot.height / 2 - (ys[row] - middleY) * scale;
  }
  plot.unitsPerPixel = 1 / scale;
}

function extent(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const row of view.modelRows) {
    if (values[row] < low) low = values[row];
    if (values[row] > high) high = values[row];
  }
  return low <= high ? {low, high} : {low: 0, high: 0};
}

const pointRadius = (n) => (n < 1500 ? 5 : n < 6000 ? 4 : n < 30000 ? 3 : 2);

/** A fixed shuffle, so that no profile covers the others only because it comes last. */
function scatteredOrder(rows) {
  const n = rows.length;
  let stride = Math.max(1, Math.round(n * 0.618));
  while (greatestCommonDivisor(stride, n) > 1) stride++;
  return rows.map((_, i) => rows[(i * stride) % n]);
}

const greatestCommonDivisor = (a, b) => (b ? greatestCommonDivisor(b, a % b) : a);

/** Stamp a ready picture for each point, one per shape and colour: fast for 10^5 of them. */
function drawPoints(context, rows, colours, binOf, edge) {
  const profileColumn = COLUMNS.get('profile_name');
  const profileCodes = arrayOf(profileColumn);
  const stamps = [];
  const side = Math.ceil(3 * plot.radius + 2);
  for (const row of rows) {
    const bin = binOf(row);
    const key = profileCodes[row] * colours.length + bin;
    stamps[key] ??= pointStamp(
      profileColumn.values.dictionary[profileCodes[row]], side, colours[bin], edge);
    context.drawImage(stamps[key], plot.left[row] - side / 2, plot.top[row] - side / 2, side, side);
  }
}

function pointStamp(profile, side, colour, edge) {
  const density = window.devicePixelRatio || 1;
  const canvas = el('canvas', {width: side * density, height: side * density});
  const context = canvas.getContext('2d');
  context.scale(density, density);
  context.translate(side / 2, side / 2);
  const path = new Path2D(shapePath(profile, plot.radius));
  context.fillStyle = colour;
  context.fill(path);
  if (edge !== null && plot.radius > 2) {
    context.strokeStyle = edge;
    context.lineWidth = 0.75;
    context.stroke(path);
  }
  return canvas;
}

/** Rings and the line that joins one clip's profiles, on a canvas of its own. */
function drawOverlay(hovered = -1) {
  const context = fitCanvas(byId('map-overlay'));
  const selected = selectedRow();
  context.strokeStyle = cssColour('--ink');
  if (selected >= 0) {
    const rows = ROWS_OF_CLIP[CLIP_OF_ROW[selected]]
      .filter((row) => valueAt('model', row) === state.model);
    joinRows(context, rows);
    for (const row of rows) ring(context, row, row === selected ? 2.5 : 1);
  }
  if (hovered >= 0) ring(context, hovered, 1.5);
}

function joinRows(context, rows) {
  context.lineWidth = 1;
  context.setLineDash([3, 3]);
  context.beginPath();
  for (const row of rows) context.lineTo(plot.left[row], plot.top[row]);
  context.stroke();
  context.setLineDash([]);
}

function ring(context, row, width) {
  context.lineWidth = width;
  context.beginPath();
  context.arc(plot.left[row], plot.top[row], plot.radius + 4, 0, 2 * Math.PI);
  context.stroke();
}

/** Rows by screen cell, for finding the one under the pointer. */
function hitCells(rows) {
  const cells = new Map();
  for (const row of rows) {
    const key = cellKey(Math.floor(plot.left[row] / CELL), Math.floor(plot.top[row] / CELL));
    if (!cells.has(key)) cells.set(key, []);
    cells.get(key).push(row);
  }
  return cells;
}

const cellKey = (column, line) => column * 65536 + line;

/** The active row nearest to a place on the map, -1 when none is near. */
function rowAt(left, top) {
  const [column, line] = [Math.floor(left / CELL), Math.floor(top / CELL)];
  let [best, nearest] = [-1, REACH ** 2];
  for (const dx of [-1, 0, 1]) {
    for (const dy of [-1, 0, 1]) {
      for (const row of plot.cells.get(cellKey(column + dx, line + dy)) ?? []) {
        const distance = (plot.left[row] - left) ** 2 + (plot.top[row] - top) ** 2;
        if (distance < nearest) [best, nearest] = [row, distance];
      }
    }
  }
  return best;
}
