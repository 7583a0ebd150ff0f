// A metric over two columns at once: a table of coloured cells with their figures.

const FEW = 5; // samples, below which a cell is only hatched

function heatMap(metric, first, second) {
  const columns = binsOf(first, view.rows, Number(state.bins));
  const lines = binsOf(second, view.rows, Number(state.bins));
  if (!columns.length || !lines.length) {
    return [el('p', {class: 'note'}, 'No sample in view has values in both columns.')];
  }
  const cells = lines.map((line) => {
    const rows = view.rows.filter(line.test);
    return columns.map((column) => metric.estimate(rows.filter(column.test)));
  });
  const shown = cells.flat().filter(({value, n}) => n >= FEW && !isMissing(value))
    .map(({value}) => value);
  const [low, high] = [Math.min(...shown), Math.max(...shown)];
  const shade = (value) => (high > low ? (value - low) / (high - low) : 0.5);
  return [
    el('div', {class: 'scroll'}, el('table', {class: 'heat'},
      el('caption', {}, `${metric.label} by ${withUnit(COLUMNS.get(first))} (across) and `
        + `${withUnit(COLUMNS.get(second))} (down)`),
      el('thead', {}, el('tr', {}, el('td', {}), columns.map(({label}) =>
        el('th', {scope: 'col', title: label}, shorten(label, 18))))),
      el('tbody', {}, cells.map((line, i) => el('tr', {},
        el('th', {scope: 'row', title: lines[i].label}, shorten(lines[i].label, 26)),
        line.map((cell, k) => heatCell(metric, cell, shade, columns[k], lines[i]))))))),
    el('p', {class: 'note'}, `Profiles together. Cells of fewer than ${FEW} samples are left `
      + 'without colour. A click selects the samples of a cell.'),
  ];
}

function heatCell(metric, estimate, shade, column, line) {
  if (!estimate.n) return el('td', {class: 'empty'});
  const colour = estimate.n < FEW || isMissing(estimate.value) ? null
    : interpolateColour(VIRIDIS, shade(estimate.value));
  const style = colour ? {'background': colour, 'color': shade(estimate.value) > 0.6 ? '#111' : '#fff'}
    : {};
  return el('td', {
    class: 'cell', style, title: `${estimateText(metric, estimate)}, ${plural(estimate.n, 'sample')}`,
    onclick: () => setState({where: JSON.stringify([
      ...conditions().filter(([name]) => name !== column.name && name !== line.name),
      binCondition(column), binCondition(line)])}),
  }, metricText(metric, estimate.value), el('small', {}, count(estimate.n)));
}
