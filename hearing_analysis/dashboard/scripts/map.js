// The map on its canvas: where points lie, how they are drawn, which one is under the pointer.

const CELL = 24; // side of a hit-test cell and radius of the hit test, in CSS pixels
const REACH = 12;

const LATENT = heavyData('latent');
const PROJECTIONS = new Map(LATENT.projections.map((projection) => [projection.key, projection]));
const SIZES = [0.7, 1, 1.35, 1.75]; // of a point, by quarters of the size column
const MANY = 20000; // points, from which pixels are set by hand
const MAX_ARROWS = 400; // clips; more would hide what they point at

const plot = {
  width: 0, height: 0, radius: 4,
  zoom: 1, centre: {x: 0, y: 0}, // what part is shown
  left: new Float32Array(DATA.n_rows), top: new Float32Array(DATA.n_rows), // places on screen
  cells: new Map(),
  scale: null,
  sizes: null, // step of each row, when a column sets the size
  waiting: null, // a frame that has been asked for
};

function drawMap() {
  const context = fitCanvas(byId('map'));
  plot.scale = colourScale(state.colour, view.modelRows);
  plot.sizes = sizeSteps();
  placePoints();
  const order = scatteredOrder(view.modelRows);
  const {colours, binOf, nNamed} = plot.scale;
  const [chosen, unchosen] = partition(order, (row) => view.active[row]);
  const [named, others] = partition(chosen, (row) => binOf(row) < nNamed);
  const draw = order.length > MANY ? drawDense : drawPoints;
  const layers = [
    {rows: unchosen, colours: [cssColour('--unselected')], binOf: () => 0, edge: null},
    {rows: others, colours, binOf, edge: cssColour('--point-edge')},
    {rows: named, colours, binOf, edge: cssColour('--point-edge')},
  ];
  draw(context, layers);
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
  const [xs, ys] = mapCoordinates(state.projection);
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
  plot.origin = {x: middleX, y: middleY};
}

/** Coordinates of every row on a map. */
function mapCoordinates(key) {
  const projection = PROJECTIONS.get(key);
  projection.decoded ??= [decodeArray(projection.x), decodeArray(projection.y)];
  return projection.decoded;
}

/** Where a place on screen lies on the map. */
const toMap = (left, top) => [
  plot.origin.x + (left - plot.width / 2) * plot.unitsPerPixel,
  plot.origin.y - (top - plot.height / 2) * plot.unitsPerPixel,
];

const toScreen = ([x, y]) => [
  plot.width / 2 + (x - plot.origin.x) / plot.unitsPerPixel,
  plot.height / 2 - (y - plot.origin.y) / plot.unitsPerPixel,
];

/** Which of `SIZES` each point has; null when all are alike. */
function sizeSteps() {
  if (!state.size) return null;
  const values = numbersOf(state.size);
  const {low, high} = clippedDomain(values, view.modelRows);
  const steps = new Uint8Array(DATA.n_rows);
  for (const row of view.modelRows) {
    const share = (values[row] - low) / (high - low || 1);
    steps[row] = share > 0 ? Math.min(Math.floor(share * SIZES.length), SIZES.length - 1) : 0;
  }
  return steps;
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

/** Stamp a ready picture for each point, one per shape, size and colour. */
function drawPoints(context, layers) {
  for (const layer of layers) {
    const stampOf = stamps(layer);
    for (const row of layer.rows) {
      const {canvas, side} = stampOf(row);
      context.drawImage(canvas, plot.left[row] - side / 2, plot.top[row] - side / 2, side, side);
    }
  }
}

/** The same for 10^5 points: copy the opaque pixels of the pictures into one image. */
function drawDense(context, layers) {
  const {width, height} = context.canvas;
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const density = window.devicePixelRatio || 1;
  for (const layer of layers) {
    const stampOf = stamps(layer);
    for (const row of layer.rows) {
      const stamp = stampOf(row);
      stamp.pixels ??= opaquePixels(stamp.canvas);
      const left = Math.round(plot.left[row] * density);
      const top = Math.round(plot.top[row] * density);
      for (const {dx, dy, colour} of stamp.pixels) {
        const [x, y] = [left + dx, top + dy];
        if (x >= 0 && x < width && y >= 0 && y < height) pixels[y * width + x] = colour;
      }
    }
  }
  context.putImageData(image, 0, 0);
}

/** Pixels of a picture that are more than half opaque, seen from its middle. */
function opaquePixels(canvas) {
  const {width, height} = canvas;
  const {data} = canvas.getContext('2d').getImageData(0, 0, width, height);
  const colours = new Uint32Array(data.buffer);
  const found = [];
  for (let i = 0; i < colours.length; i++) {
    if (data[4 * i + 3] < 128) continue;
    data[4 * i + 3] = 255;
    found.push({dx: (i % width) - (width >> 1), dy: Math.floor(i / width) - (height >> 1), colour: colours[i]});
  }
  return found;
}

/** The picture of each row of a layer, made when it is first needed. */
function stamps({colours, binOf, edge}) {
  const profileColumn = COLUMNS.get('profile_name');
  const profileCodes = arrayOf(profileColumn);
  const made = [];
  return (row) => {
    const bin = binOf(row);
    const step = plot.sizes === null ? 1 : plot.sizes[row];
    const key = (profileCodes[row] * colours.length + bin) * SIZES.length + step;
    return made[key] ??= pointStamp(profileColumn.values.dictionary[profileCodes[row]],
      plot.radius * SIZES[step], colours[bin], edge);
  };
}

function pointStamp(profile, radius, colour, edge) {
  const side = Math.ceil(3 * radius + 2);
  const density = window.devicePixelRatio || 1;
  const canvas = el('canvas', {width: side * density, height: side * density});
  const context = canvas.getContext('2d');
  context.scale(density, density);
  context.translate(side / 2, side / 2);
  const path = new Path2D(shapePath(profile, radius));
  context.fillStyle = colour;
  context.fill(path);
  if (edge !== null && radius > 2) {
    context.strokeStyle = edge;
    context.lineWidth = 0.75;
    context.stroke(path);
  }
  return {canvas, side};
}

/** Rings, arrows and what is being drawn, on a canvas of its own. */
function drawOverlay(hovered = -1) {
  const context = fitCanvas(byId('map-overlay'));
  const selected = selectedRow();
  context.strokeStyle = context.fillStyle = cssColour('--ink');
  if (state.arrows) drawArrows(context);
  if (selected >= 0) {
    const rows = rowsOfClip(CLIP_OF_ROW[selected]);
    clipArrows(context, rows, 1.2);
    for (const row of rows) ring(context, row, row === selected ? 2.5 : 1);
  }
  if (hovered >= 0) ring(context, hovered, 1.5);
  drawLasso(context);
}

const rowsOfClip = (clip) =>
  ROWS_OF_CLIP[clip].filter((row) => valueAt('model', row) === state.model);

/** Arrows of the clips in view, from the reference profile to the others. */
function drawArrows(context) {
  const clips = [...new Set(Array.from(view.rows, (row) => CLIP_OF_ROW[row]))];
  const step = Math.max(1, clips.length / MAX_ARROWS);
  context.globalAlpha = 0.35;
  for (let i = 0; i < clips.length; i += step) {
    clipArrows(context, rowsOfClip(clips[Math.floor(i)]).filter((row) => view.active[row]
      || textAt('profile_name', row) === DATA.reference_profile), 0.8);
  }
  context.globalAlpha = 1;
}

/** Arrows from a clip's reference point to its others; a plain line where there is no reference. */
function clipArrows(context, rows, width) {
  const from = rows.find((row) => textAt('profile_name', row) === DATA.reference_profile) ?? rows[0];
  context.lineWidth = width;
  for (const row of rows) {
    if (row !== from) arrow(context, plot.left[from], plot.top[from], plot.left[row], plot.top[row]);
  }
}

function arrow(context, x0, y0, x1, y1) {
  const length = Math.hypot(x1 - x0, y1 - y0);
  const gap = plot.radius + 5;
  if (length < 2 * gap) return;
  const [ux, uy] = [(x1 - x0) / length, (y1 - y0) / length];
  const [tipX, tipY] = [x1 - ux * gap, y1 - uy * gap];
  context.beginPath();
  context.moveTo(x0 + ux * gap, y0 + uy * gap);
  context.lineTo(tipX, tipY);
  context.stroke();
  context.beginPath();
  context.moveTo(tipX, tipY);
  context.lineTo(tipX - 7 * ux - 3.5 * uy, tipY - 7 * uy + 3.5 * ux);
  context.lineTo(tipX - 7 * ux + 3.5 * uy, tipY - 7 * uy - 3.5 * ux);
  context.fill();
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
