// Axes, whiskers and lines that the charts share.

/** About n round steps that cover `low` to `high`. */
function ticksBetween(low, high, n) {
  if (!(high > low)) [low, high] = [low - Math.abs(low || 1) / 2, high + Math.abs(high || 1) / 2];
  const rough = (high - low) / n;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= rough - 1e-12 * power);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  return Array.from({length: last - first + 1}, (_, i) => (first + i) * step);
}

/** Horizontal grid lines with their values at the left. */
function levelGrid(ticks, y, left, right, text) {
  return ticks.flatMap((tick) => [
    svg('line', {class: tick === 0 ? 'grid zero' : 'grid', x1: left, x2: right, y1: y(tick), y2: y(tick)}),
    svg('text', {class: 'tick', x: left - 7, y: y(tick), 'text-anchor': 'end',
      'dominant-baseline': 'central'}, text(tick)),
  ]);
}

function uprightWhisker(x, low, high, y, colour) {
  if (isMissing(low) || isMissing(high)) return null;
  const d = `M${x} ${y(low)}V${y(high)}M${x - 3} ${y(low)}h6M${x - 3} ${y(high)}h6`;
  return svg('path', {class: 'whisker thin', d, style: {stroke: colour}});
}

/** Round ticks shown with as many digits as they need. */
function tickText(metric, ticks) {
  const step = Math.abs(ticks[1] - ticks[0]) * (metric.percent ? 100 : 1);
  const digits = Math.min(6, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
  const exact = (value) => (Number.isInteger(Number((step / 10 ** -digits).toFixed(6))) ? digits : digits + 1);
  return (tick) => (metric.percent ? percent(tick, exact()) : plainTick(tick, exact()));
}

function plainTick(value, digits) {
  const size = Math.abs(value);
  if (size && (size >= 1e6 || size < 1e-4)) return value.toExponential(1).replace(/-/g, MINUS);
  return size >= 1e4 ? count(value) : fixed(value, digits);
}

/** Names that must fit below each other's neighbour. */
const fitting = (text, room) => shorten(String(text), Math.max(3, Math.floor(room / 6.4)));
