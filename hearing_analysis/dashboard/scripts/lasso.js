// Selecting on the map: a polygon in the coordinates of a projection, kept in the address.

const SPACING = 5; // pixels between the corners of a lasso

let drawing = null; // corners on screen, while the button is down

/** "pca:1.5,2;..." -> {key, corners}; null when the text is none. */
function parseLasso(text) {
  const [key, list] = text.split(':');
  if (!PROJECTIONS.has(key) || list === undefined) return null;
  const corners = list.split(';').map((pair) => pair.split(',').map(Number));
  const valid = corners.length > 2
    && corners.every((pair) => pair.length === 2 && pair.every(Number.isFinite));
  return valid ? {key, corners} : null;
}

function beginLasso({offsetX, offsetY}) {
  drawing = [[offsetX, offsetY]];
}

function extendLasso(grip, {offsetX, offsetY}) {
  const here = [offsetX, offsetY];
  if (state.tool === 'box') {
    const [x, y] = drawing[0];
    drawing = [[x, y], [offsetX, y], here, [x, offsetY]];
  } else {
    const [x, y] = drawing[drawing.length - 1];
    if (Math.hypot(offsetX - x, offsetY - y) < SPACING) return;
    drawing.push(here);
  }
  grip.moved = true;
  byId('map-tip').hidden = true;
  drawOverlay();
}

function finishLasso() {
  const corners = drawing ?? [];
  drawing = null;
  if (corners.length < 3) {
    drawOverlay();
    return;
  }
  const places = corners.map(([left, top]) =>
    toMap(left, top).map((value) => Number(value.toPrecision(5))).join(','));
  setState({lasso: `${state.projection}:${places.join(';')}`});
}

/** Whether a sample lies inside: a ray to the right crosses the edge an odd number of times. */
function lassoTest({key, corners}) {
  const [xs, ys] = mapCoordinates(key);
  return (row) => {
    const [x, y] = [xs[row], ys[row]];
    let inside = false;
    for (let i = 0, j = corners.length - 1; i < corners.length; j = i++) {
      const [[xi, yi], [xj, yj]] = [corners[i], corners[j]];
      if ((yi > y) !== (yj > y) && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) inside = !inside;
    }
    return inside;
  };
}

/** The lasso that is being drawn, or else the one that selects. */
function drawLasso(context) {
  const kept = state.lasso ? parseLasso(state.lasso) : null;
  const shown = drawing ?? (kept && kept.key === state.projection ? kept.corners.map(toScreen) : null);
  if (shown === null || shown.length < 2) return;
  context.beginPath();
  for (const [left, top] of shown) context.lineTo(left, top);
  context.closePath();
  context.strokeStyle = cssColour('--accent');
  context.lineWidth = 1.5;
  context.setLineDash([5, 4]);
  context.stroke();
  context.setLineDash([]);
  context.globalAlpha = 0.08;
  context.fillStyle = cssColour('--accent');
  context.fill();
  context.globalAlpha = 1;
}
