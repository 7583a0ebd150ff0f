// Numbers as people read them. Missing and undefined values are an en dash.

const MISSING = '–';
const MINUS = '−';
const NARROW_SPACE = '\u202f';

const isMissing = (value) => value === null || value === undefined || Number.isNaN(value);

/** 0.1234 -> "12.3 %". */
function percent(ratio, digits = 1) {
  if (isMissing(ratio)) return MISSING;
  return `${fixed(100 * ratio, digits)}${NARROW_SPACE}%`;
}

/** An interval of ratios: "10.2–14.9". */
function percentRange(low, high) {
  if (isMissing(low) || isMissing(high)) return '';
  const separator = low < 0 || high < 0 ? ' to ' : '–';
  return `${fixed(100 * low, 1)}${separator}${fixed(100 * high, 1)}`;
}

/** A difference of ratios in percentage points, always signed: "+12.3". */
function points(difference) {
  if (isMissing(difference)) return MISSING;
  const text = fixed(100 * difference, 1);
  return difference > 0 && text !== '0.0' ? `+${text}` : text;
}

/** A whole number with its thousands set apart. */
function count(value) {
  if (isMissing(value)) return MISSING;
  return fixed(value, 0).replace(/\B(?=(\d{3})+$)/g, NARROW_SPACE);
}

/** Digits after the point, with a true minus sign and no negative zero. */
function fixed(value, digits) {
  if (!Number.isFinite(value)) return value > 0 ? '∞' : `${MINUS}∞`;
  const text = Math.abs(value).toFixed(digits);
  return value < 0 && Number(text) !== 0 ? MINUS + text : text;
}

/** Any number in at most four significant digits; whole numbers whole. */
function number(value) {
  if (isMissing(value)) return MISSING;
  const size = Math.abs(value);
  if (!Number.isFinite(value)) return fixed(value, 0);
  if (Number.isInteger(value)) return size < 1e15 ? count(value) : value.toExponential(3);
  if (size >= 1e4) return count(Math.round(value));
  if (size < 1e-3) return value.toExponential(2).replace(/-/g, MINUS);
  const digits = Math.max(0, 3 - Math.floor(Math.log10(size)));
  return fixed(value, Math.min(digits, 6));
}

/** A value of a column, with its unit when asked for. */
function columnText(column, value, withUnit = false) {
  if (value === null || value === undefined) return MISSING;
  if (column.role !== 'number') return value;
  const unit = column.description.unit;
  if (unit === '%') return percent(value);
  const text = number(value);
  return withUnit && unit && text !== MISSING ? `${text}${NARROW_SPACE}${unit}` : text;
}

const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

const shorten = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

/** Names of clips often begin alike and differ at the end. */
function shortenMiddle(text, length) {
  if (text.length <= length) return text;
  const tail = Math.ceil(length * 0.6);
  return `${text.slice(0, length - tail - 1)}…${text.slice(-tail)}`;
}
