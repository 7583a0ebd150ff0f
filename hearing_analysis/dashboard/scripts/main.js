// Start the page: read the address, start every panel, listen to the keyboard.

const STARTS = [startViews, startToolbar, startFilter, startTooltips, startOverview, startAudiogram,
  chooseFirst, startSamples, startChips, startSample, startMap, startClusters, startRelation, startWords,
  startInsights, startMining, startCompare, startKeyboard, startPrinting, showView, showTable];

/** Without a sample in the address, begin with the first of the table that can be heard. */
function chooseFirst() {
  if (state.sample) return;
  sortRows();
  const first = listing.rows.find(hasAudio) ?? listing.rows[0];
  if (first !== undefined) selectRow(first);
}

function startKeyboard() {
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    const act = keyAction(event);
    if (act === null) return;
    event.preventDefault();
    act();
  });
}

/** Fields, and controls that use the keys themselves. */
function isTyping(target) {
  return target.closest?.('input:not([type="checkbox"]), select, textarea, audio') instanceof Element;
}

function keyAction({key, target}) {
  if (state.view === 'map' && key === 'l') return () => setState({tool: 'lasso'});
  if (state.view === 'map' && key === 'b') return () => setState({tool: 'box'});
  if (state.view === 'map' && key === 'm') return () => setState({tool: 'pan'});
  if (key === 'Escape' && isSelected()) return clearSelection;
  if (byId('sample').hidden) return null;
  if (key === 'ArrowLeft') return () => stepClip(-1);
  if (key === 'ArrowRight') return () => stepClip(1);
  if (key >= '1' && key <= '9') return () => chooseProfile(Number(key) - 1);
  // A clip's name in the table is a button too, but there space should play what it selected.
  const presses = target.closest?.('button:not(.pick), summary, a, input') instanceof Element;
  if (key === ' ' && !presses && players.size) {
    return () => togglePlay(textAt('profile_name', selectedRow()));
  }
  return null;
}

/** Go to the next or previous clip in the order of the table. */
function stepClip(step) {
  const rows = firstRowsOfClips();
  if (!rows.length) return;
  const row = selectedRow();
  const clip = row < 0 ? -1 : CLIP_OF_ROW[row];
  const position = rows.findIndex((candidate) => CLIP_OF_ROW[candidate] === clip);
  const next = position < 0 ? 0 : Math.min(Math.max(position + step, 0), rows.length - 1);
  if (next === position) return;
  selectRow(rows[next]);
}

/** The best placed row of every clip in the table. */
function firstRowsOfClips() {
  const seen = new Set();
  return [...listing.rows].filter((row) => {
    const clip = CLIP_OF_ROW[row];
    return seen.has(clip) ? false : seen.add(clip);
  });
}

function chooseProfile(position) {
  const card = byId('sample').querySelectorAll('.card')[position];
  if (!card || card.dataset.row === '-1') return;
  selectRow(Number(card.dataset.row));
  handOver(card.dataset.profile);
}

/** Paper is light. */
function startPrinting() {
  const print = (printing) => () => {
    document.documentElement.toggleAttribute('data-printing', printing);
    if (state.view === 'map') drawMap();
  };
  window.addEventListener('beforeprint', print(true));
  window.addEventListener('afterprint', print(false));
}

function start() {
  Object.assign(state, readAddress());
  for (const step of STARTS) step();
  window.addEventListener('resize', () => { if (state.view === 'overview') showOverview(); });
}

try {
  start();
} catch (error) {
  byId('failure').textContent = `This page could not be shown completely: ${error.message}`;
  byId('failure').hidden = false;
  throw error;
}
