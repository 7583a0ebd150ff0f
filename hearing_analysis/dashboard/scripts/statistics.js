// How sure a figure is. The same formulas as statistics.py, so that a selection is judged at once.

const NORMAL_QUANTILE = 1.959963984540054;

/** Ratio of sums with its large-sample interval (Cochran 1977): {value, low, high, n}. */
function ratioEstimate(rows, numerators, denominators) {
  let [top, bottom, n] = [0, 0, 0];
  for (const row of rows) {
    const [y, x] = [numerators(row), denominators(row)];
    if (!Number.isFinite(y) || !Number.isFinite(x)) continue;
    top += y;
    bottom += x;
    n++;
  }
  if (!bottom) return {value: NaN, low: NaN, high: NaN, n};
  const value = top / bottom;
  if (n < 2) return {value, low: NaN, high: NaN, n};
  let squares = 0;
  for (const row of rows) {
    const [y, x] = [numerators(row), denominators(row)];
    if (Number.isFinite(y) && Number.isFinite(x)) squares += (y - value * x) ** 2;
  }
  const half = NORMAL_QUANTILE * Math.sqrt((n / (n - 1)) * squares) / Math.abs(bottom);
  return {value, low: value - half, high: value + half, n};
}

/** Word information lost of a group, with the interval of the linearised statistic. */
function informationLost(rows, hits, references, hypotheses) {
  let [h, r, p] = [0, 0, 0];
  for (const row of rows) {
    h += hits(row);
    r += references(row);
    p += hypotheses(row);
  }
  const n = rows.length;
  if (!r || !p) return {value: r ? 1 : NaN, low: NaN, high: NaN, n};
  const kept = (h / r) * (h / p);
  if (n < 2 || !h) return {value: 1 - kept, low: NaN, high: NaN, n};
  let squares = 0;
  for (const row of rows) {
    squares += (kept * (2 * hits(row) / h - references(row) / r - hypotheses(row) / p)) ** 2;
  }
  const half = NORMAL_QUANTILE * Math.sqrt((n / (n - 1)) * squares);
  return {value: 1 - kept, low: 1 - kept - half, high: 1 - kept + half, n};
}

/** Ranks from 1, equal values sharing their mean rank. */
function ranksOf(values) {
  const order = Uint32Array.from(values.keys()).sort((a, b) => values[a] - values[b]);
  const ranks = new Float64Array(values.length);
  for (let i = 0; i < order.length;) {
    let j = i;
    while (j + 1 < order.length && values[order[j + 1]] === values[order[i]]) j++;
    for (let k = i; k <= j; k++) ranks[order[k]] = (i + j) / 2 + 1;
    i = j + 1;
  }
  return ranks;
}

/** Spearman's rank correlation over rows where both are known; NaN when one does not vary. */
function spearman(rows, first, second) {
  const known = [...rows].filter((row) =>
    Number.isFinite(first(row)) && Number.isFinite(second(row)));
  if (known.length < 3) return NaN;
  const a = ranksOf(Float64Array.from(known, first));
  const b = ranksOf(Float64Array.from(known, second));
  const middle = (known.length + 1) / 2;
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    const [da, db] = [a[i] - middle, b[i] - middle];
    ab += da * db;
    aa += da * da;
    bb += db * db;
  }
  return aa && bb ? ab / Math.sqrt(aa * bb) : NaN;
}

/** Edges of about `n` bins of equal size, both ends included; fewer when values repeat. */
function quantileEdges(values, n) {
  const sorted = Float64Array.from(values).filter(Number.isFinite).sort();
  if (!sorted.length) return [];
  const at = (share) => {
    const place = share * (sorted.length - 1);
    const low = Math.floor(place);
    return sorted[low] + (place - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
  };
  return [...new Set(Array.from({length: n + 1}, (_, i) => at(i / n)))];
}
