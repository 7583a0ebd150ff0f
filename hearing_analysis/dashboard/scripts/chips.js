// The bar that tells what is selected, undoes it, and hands it out as a file.

function startChips() {
  onChange(FILTER_KEYS, showChips);
  showChips();
}

function isSelected() {
  return Boolean(state.where || state.lasso || state.clips);
}

function showChips() {
  const bar = byId('chips');
  bar.hidden = !isSelected();
  const chips = conditions().map((condition) =>
    chip(conditionText(condition), () => removeCondition(condition[0])));
  if (state.lasso) chips.push(chip('Drawn on the map', () => setState({lasso: ''})));
  if (state.clips) {
    chips.push(chip(plural(state.clips.split(',').length, 'clip'), () => setState({clips: ''})));
  }
  bar.replaceChildren(
    el('strong', {id: 'selected'}, `${plural(view.rows.length, 'sample')} selected`), ...chips,
    el('button', {type: 'button', class: 'quiet', id: 'clear', onclick: clearSelection}, 'Clear'),
    ...exportButtons());
}

function chip(text, remove) {
  return el('button', {type: 'button', class: 'chip', onclick: remove,
    'aria-label': `Remove: ${text}`}, shorten(text, 60), el('span', {'aria-hidden': 'true'}, '✕'));
}

function clearSelection() {
  setState({where: '', lasso: '', clips: ''});
}
