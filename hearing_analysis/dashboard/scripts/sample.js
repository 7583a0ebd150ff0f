// One clip under every profile, side by side: text, errors, sound, spectrogram.

const FREQUENCY_TICKS = [250, 1000, 4000];
const HIGHEST_HZ = 8000;

let selection = {address: null, model: null, row: -1};

/** The selected row, -1 when the address names none. */
function selectedRow() {
  if (selection.address !== state.sample || selection.model !== state.model) {
    const row = state.sample ? rowOfSample(state.sample, state.model) : -1;
    selection = {address: state.sample, model: state.model, row};
  }
  return selection.row;
}

function selectRow(row) {
  if (row < 0) return;
  selection = {address: sampleAddress(row), model: valueAt('model', row), row};
  setState({sample: selection.address});
}

function startSample() {
  onChange(['model'], showSample);
  onChange(['sample'], () => {
    const row = selectedRow();
    const sameClip = row >= 0 && byId('sample').dataset.clip === String(CLIP_OF_ROW[row]);
    if (sameClip) markSelectedCard();
    else showSample();
    if (!byId('sample').hidden) bringIntoView();
  });
  showSample();
}

/** Scroll just far enough to see the sentence, if it is out of sight. */
function bringIntoView() {
  byId('sample').firstElementChild?.scrollIntoView({block: 'nearest'});
}

function showSample() {
  clearPlayers();
  const row = selectedRow();
  const section = byId('sample');
  section.dataset.clip = row < 0 ? '' : CLIP_OF_ROW[row];
  if (row < 0) {
    section.replaceChildren(el('p', {class: 'note'},
      state.sample ? `There is no sample ${state.sample}. ` : '',
      'Choose a sample on the map or in the table.'));
    return;
  }
  const clip = CLIP_OF_ROW[row];
  const embedded = audioOfClip(clip);
  section.replaceChildren(
    sampleHead(row, embedded),
    el('div', {class: 'cards'}, DATA.profiles.map((profile) => card(clip, profile, embedded))),
    columnsTable(clip), neighboursView(row) ?? '');
  markSelectedCard();
}

function sampleHead(row, embedded) {
  const seconds = DATA.duration_column ? valueAt(DATA.duration_column, row) : null;
  const facts = [textAt('id', row), textAt('split', row),
    isMissing(seconds) ? null : `${fixed(seconds, 1)}${NARROW_SPACE}s`].filter(Boolean);
  return el('header', {class: 'sample-head'},
    el('div', {},
      el('p', {class: 'facts'}, facts.join(' · ')),
      el('h2', {class: 'sentence', title: 'As the corpus spells it'},
        shorten(textAt('sentence', row), 1000) || '(no sentence)')),
    el('div', {class: 'sample-tools'},
      embedded && DATA.audio_source !== 'folder' ? matchControl() : null,
      el('button', {type: 'button', class: 'quiet', onclick: () => stepClip(-1)}, '← Previous'),
      el('button', {type: 'button', class: 'quiet', onclick: () => stepClip(1)}, 'Next →')));
}

function matchControl() {
  const box = el('input', {
    type: 'checkbox', checked: sound.matched, onchange: () => setMatched(box.checked),
  });
  return el('label', {class: 'check', 'data-definition': 'matched'}, box, 'Match levels');
}

function card(clip, profile, embedded) {
  const rows = ROWS_OF_CLIP[clip].filter((row) => valueAt('profile_name', row) === profile);
  const own = rows.find((row) => valueAt('model', row) === state.model) ?? -1;
  return el('article', {class: 'card', 'data-profile': profile, 'data-row': own,
    onclick: () => selectRow(own)},
  el('h3', {class: 'card-head'}, el('span', {}, profileSign(profile), profile), smallAudiogram(profile)),
  rows.length ? rows.map(heardBy) : el('p', {class: 'note'}, 'Not evaluated under this profile.'),
  soundOf(profile, embedded));
}

/** What one model made of it. */
function heardBy(row) {
  const figures = [
    ['WER', percent(valueAt('word_error_rate', row)), 'word_error_rate'],
    ['CER', percent(valueAt('character_error_rate', row)), 'character_error_rate'],
    ['CTC loss', number(valueAt('ctc_loss', row)), 'ctc_loss'],
  ];
  return el('div', {class: 'heard-by'},
    DATA.models.length > 1 ? el('h4', {}, textAt('model', row)) : null,
    el('dl', {class: 'chips'}, figures.map(([name, text, key]) =>
      el('div', {'data-definition': key}, el('dt', {}, name), el('dd', {}, text)))),
    alignmentView(row));
}

function soundOf(profile, embedded) {
  if (embedded === null) {
    return el('p', {class: 'note'}, `No audio of this clip here; there is that of ${
      count(DATA.clips_with_audio.length)} of ${plural(DATA.n_clips, 'clip')}.`);
  }
  const audio = embedded.get(profile);
  if (!audio) return el('p', {class: 'note'}, 'The analysis table has no audio of this profile.');
  const playhead = el('span', {class: 'playhead', hidden: true});
  const level = audio.rms_dbfs === null ? 'Level as stored: silence, or not measured.'
    : `${fixed(audio.rms_dbfs, 1)} dBFS as stored.`;
  return el('div', {class: 'sound'},
    spectrogramView(audio, playhead), addPlayer(audio, playhead),
    el('p', {class: 'note level', 'data-definition': 'level'}, level));
}

function spectrogramView({profile, spectrogram, seconds, in_folder}, playhead) {
  const picture = el('img', {
    src: in_folder ? spectrogram : `data:image/png;base64,${spectrogram}`, alt: `Log-mel spectrogram, profile ${profile}`,
    draggable: 'false',
  });
  const frame = el('div', {class: 'frame', onclick: (event) => {
    const box = frame.getBoundingClientRect();
    seek(profile, (event.clientX - box.left) / box.width);
  }}, picture, playhead);
  return el('figure', {class: 'spectrogram'},
    el('div', {class: 'frequencies', 'aria-hidden': 'true'}, FREQUENCY_TICKS.map((hz) =>
      el('span', {style: {bottom: `${100 * mel(hz) / mel(HIGHEST_HZ)}%`}},
        hz < 1000 ? String(hz) : `${hz / 1000}k`))),
    frame,
    el('figcaption', {}, el('span', {}, isMissing(seconds) ? 'Hz' : `0–${fixed(seconds, 1)} s, Hz`), levelScale()));
}

const mel = (hz) => 2595 * Math.log10(1 + hz / 700);

/** The colours of the fixed level scale. */
function levelScale() {
  const {floor_dbfs: floor, ceiling_dbfs: ceiling, palette} = DATA.spectrogram;
  return el('span', {class: 'levels', 'data-definition': 'spectrogram'}, fixed(floor, 0),
    svg('svg', {viewBox: `0 0 ${palette.length} 1`, preserveAspectRatio: 'none'},
      palette.map((fill, i) => svg('rect', {x: i, width: 1.05, height: 1, fill}))),
    `${fixed(ceiling, 0)} dBFS`);
}

function markSelectedCard() {
  const row = selectedRow();
  for (const card of byId('sample').querySelectorAll('.card')) {
    card.classList.toggle('selected', Number(card.dataset.row) === row);
  }
}

/** Every column of the table for this clip, a value per profile. */
function columnsTable(clip) {
  const details = el('details', {class: 'columns'}, el('summary', {}, 'All columns of this clip'));
  // Built when opened: there may be a hundred columns.
  details.addEventListener('toggle', () => {
    if (details.open && details.children.length === 1) details.append(allColumns(clip));
  });
  return details;
}

function allColumns(clip) {
  const rows = ROWS_OF_CLIP[clip].filter((row) => valueAt('model', row) === state.model);
  return el('div', {class: 'scroll'}, el('table', {},
    el('thead', {}, el('tr', {}, el('th', {scope: 'col'}, 'Column'),
      rows.map((row) => el('th', {scope: 'col'}, textAt('profile_name', row))))),
    el('tbody', {}, [...COLUMNS.values()].map((column) => el('tr', {},
      el('th', {scope: 'row'}, term(column.name, column.name)),
      rows.map((row) => el('td', {}, columnText(column, valueAt(column.name, row), true))))))));
}
