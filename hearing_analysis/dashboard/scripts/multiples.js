// Small multiples: every measure of the overview, a small chart each, a point per profile and split.

const MULTIPLE = {width: 250, height: 150, left: 50, right: 8, top: 8, bottom: 22};
const MULTIPLES = [
  {key: 'wer', definition: 'wer', of: (group) => group.word.rate, percent: true, label: 'WER'},
  {key: 'cer', definition: 'cer', of: (group) => group.character.rate, percent: true, label: 'CER'},
  ...['substitutions', 'deletions', 'insertions'].map((kind) => ({
    key: kind, definition: kind, percent: true, label: kind[0].toUpperCase() + kind.slice(1),
    of: ({word}) => ({value: word.reference_length ? word[kind] / word.reference_length : null}),
  })),
  {key: 'loss', definition: 'loss', label: 'Loss',
    of: ({ctc_loss: ctc, cross_entropy: entropy}) => ({value: ctc ?? entropy})},
];

function showMultiples() {
  const groups = DATA.overview.filter(({split, profile}) => split !== ALL_SPLITS
    && !hiddenProfiles().has(profile));
  const series = [...new Set(groups.map(({split, model}) => seriesName(split, model)))];
  byId('multiples-legend').replaceChildren(...series.map((name, i) =>
    el('span', {}, el('i', {style: {background: `var(--c${(i + 3) % N_CATEGORIES})`}}), name)));
  byId('multiples').replaceChildren(...MULTIPLES.map((multiple) =>
    el('figure', {}, el('figcaption', {}, term(multiple.label, multiple.definition)),
      multipleChart(multiple, groups, series))));
}

const seriesName = (split, model) => (DATA.models.length > 1 ? `${split}, ${model}` : split);

function multipleChart(multiple, groups, series) {
  const {width, height, left, right, top, bottom} = MULTIPLE;
  const found = groups.map((group) => ({group, ...multiple.of(group)}))
    .filter(({value}) => !isMissing(value));
  const metric = {percent: multiple.percent};
  const ticks = ticksBetween(0, Math.max(...found.map(({value, high}) => high ?? value), 1e-9), 3);
  const y = scaleBetween(0, ticks[ticks.length - 1], height - bottom, top);
  const profiles = DATA.profiles.filter((name) => !hiddenProfiles().has(name));
  const pitch = (width - left - right) / Math.max(1, profiles.length);
  const x = ({profile, split, model}) => left + (profiles.indexOf(profile) + 0.5) * pitch
    + (series.indexOf(seriesName(split, model)) - (series.length - 1) / 2) * Math.min(9, pitch / (series.length + 1));
  return svg('svg', {class: 'multiple', viewBox: `0 0 ${width} ${height}`, role: 'img',
    'aria-label': multiple.label},
  levelGrid(ticks, y, left, width - right, tickText(metric, ticks)),
  profiles.map((profile, i) => svg('text', {class: 'tick', x: left + (i + 0.5) * pitch,
    y: height - 6, 'text-anchor': 'middle'}, fitting(profile, pitch))),
  found.map(({group, value, low, high}) => {
    const colour = `var(--c${(series.indexOf(seriesName(group.split, group.model)) + 3) % N_CATEGORIES})`;
    return svg('g', {}, uprightWhisker(x(group), low, high, y, colour),
      svg('circle', {class: 'point', cx: x(group), cy: y(value), r: 4, style: {fill: colour}},
        svg('title', {}, `${group.profile}, ${seriesName(group.split, group.model)}: `
          + metricText(metric, value))));
  }));
}
