// Audiograms as audiologists draw them: octaves to the right, dB HL downward.

const OCTAVES_HZ = [125, 250, 500, 1000, 2000, 4000, 8000];
// World report on hearing (WHO, 2021), table 1.1; as the column profile_severity.
const DEGREES = [
  {name: 'mild', from: 20, to: 35}, {name: 'moderate', from: 35, to: 50},
  {name: 'mod. severe', from: 50, to: 65}, {name: 'severe', from: 65, to: 80},
  {name: 'profound', from: 80, to: 95}, {name: 'complete', from: 95, to: 130},
];
const SHEET = {width: 460, height: 400, left: 46, right: 74, top: 46, bottom: 10};

function startAudiogram() {
  byId('audiogram-title').replaceChildren(term('Audiograms', 'audiogram'));
  byId('audiogram').replaceChildren(DATA.audiograms.length
    ? el('div', {}, audiogramSheet(), audiogramKey())
    : el('p', {class: 'note'}, 'The table has no profile_attenuation_db_*_hz columns to draw.'));
}

function audiogramSheet() {
  const {width, height} = SHEET;
  const frequencies = DATA.audiograms.flatMap((audiogram) => audiogram.frequencies_hz);
  const levels = DATA.audiograms.flatMap((audiogram) => audiogram.thresholds_db_hl);
  const deepest = Math.max(110, Math.ceil(Math.max(...levels) / 10) * 10 + 10);
  const highest = Math.min(-10, Math.floor(Math.min(...levels) / 10) * 10);
  const x = scaleBetween(Math.log2(Math.min(125, ...frequencies)),
    Math.log2(Math.max(8000, ...frequencies)), SHEET.left + 14, width - SHEET.right - 14);
  const y = scaleBetween(highest, deepest, SHEET.top, height - SHEET.bottom);
  const sheet = svg('svg', {
    class: 'audiogram', viewBox: `0 0 ${width} ${height}`, role: 'img',
    'aria-label': DATA.audiograms.map(describeAudiogram).join('; '),
  });
  sheet.append(...degreeBands(y, deepest), ...frequencyLines(x, y, highest, deepest),
    ...levelLines(y, highest, deepest));
  sheet.append(...DATA.audiograms.map((audiogram) =>
    audiogramLine(audiogram, (hz) => x(Math.log2(hz)), y)));
  return sheet;
}

const scaleBetween = (low, high, from, to) => (value) =>
  from + ((value - low) / (high - low)) * (to - from);

function describeAudiogram({profile, frequencies_hz: hz, thresholds_db_hl: levels}) {
  return `${profile}: ${hz.map((f, i) => `${number(levels[i])} dB at ${f} Hz`).join(', ')}`;
}

function degreeBands(y, deepest) {
  const left = SHEET.left;
  const right = SHEET.width - SHEET.right;
  return DEGREES.filter(({from}) => from < deepest).flatMap(({name, from, to}, i) => {
    const bottom = Math.min(to, deepest);
    return [
      svg('rect', {
        class: i % 2 ? 'degree even' : 'degree', x: left, y: y(from),
        width: right - left, height: y(bottom) - y(from),
      }),
      svg('text', {
        class: 'degree', x: right + 6, y: (y(from) + y(bottom)) / 2, 'dominant-baseline': 'central',
      }, name),
    ];
  });
}

function frequencyLines(x, y, highest, deepest) {
  return OCTAVES_HZ.flatMap((hz) => {
    const at = x(Math.log2(hz));
    return [
      svg('line', {class: 'grid', x1: at, x2: at, y1: y(highest), y2: y(deepest)}),
      svg('text', {class: 'tick', x: at, y: y(highest) - 8, 'text-anchor': 'middle'},
        hz < 1000 ? String(hz) : `${hz / 1000}k`),
    ];
  }).concat(svg('text', {
    class: 'axis', x: (SHEET.left + SHEET.width - SHEET.right) / 2, y: 14, 'text-anchor': 'middle',
  }, 'Frequency (Hz)'));
}

function levelLines(y, highest, deepest) {
  const right = SHEET.width - SHEET.right;
  const nLines = Math.round((deepest - highest) / 10) + 1;
  return Array.from({length: nLines}, (_, i) => highest + 10 * i).flatMap((level) => [
    svg('line', {
      class: level === 0 ? 'grid zero' : 'grid',
      x1: SHEET.left, x2: right, y1: y(level), y2: y(level),
    }),
    level % 20 ? null : svg('text', {
      class: 'tick', x: SHEET.left - 8, y: y(level), 'text-anchor': 'end',
      'dominant-baseline': 'central',
    }, fixed(level, 0)),
  ]).filter(Boolean).concat(svg('text', {
    class: 'axis', 'text-anchor': 'middle',
    transform: `translate(11 ${(y(highest) + y(deepest)) / 2}) rotate(-90)`,
  }, 'Hearing level (dB HL)'));
}

function audiogramLine({profile, frequencies_hz: hz, thresholds_db_hl: levels}, x, y) {
  const places = hz.map((frequency, i) => [x(frequency), y(levels[i])]);
  const colour = profileColour(profile);
  const line = places.map(([px, py]) => `${px.toFixed(1)} ${py.toFixed(1)}`).join('L');
  return svg('g', {},
    svg('path', {
      class: 'curve', d: `M${line}`, style: {stroke: colour},
    }),
    places.map(([px, py], i) => svg('path', {
      class: 'point', d: shapePath(profile, 5), transform: `translate(${px} ${py})`,
      style: {fill: colour},
    }, svg('title', {}, `${profile}: ${number(levels[i])} dB HL at ${count(hz[i])} Hz`))));
}

function audiogramKey() {
  return el('p', {class: 'legend'}, DATA.audiograms.map(({profile}) =>
    el('span', {}, profileSign(profile), profile)));
}

/** The audiogram of one profile, small, beside its name. */
function smallAudiogram(profile) {
  const found = DATA.audiograms.find((audiogram) => audiogram.profile === profile);
  if (!found) return null;
  const {frequencies_hz: hz, thresholds_db_hl: levels} = found;
  const x = scaleBetween(Math.log2(125), Math.log2(8000), 3, 61);
  const y = scaleBetween(-10, 110, 2, 30);
  const line = hz.map((f, i) => `${x(Math.log2(f)).toFixed(1)} ${y(levels[i]).toFixed(1)}`).join('L');
  return svg('svg', {class: 'small-audiogram', viewBox: '0 0 64 32', role: 'img',
    'aria-label': describeAudiogram(found), 'data-definition': 'audiogram'},
  svg('rect', {class: 'track', width: 64, height: 32, rx: 3}),
  svg('path', {class: 'curve', d: `M${line}`, style: {stroke: profileColour(profile)}}),
  svg('title', {}, describeAudiogram(found)));
}
