// What is worth looking at first, found when the page was made: weak groups, gaps, doubtful data.

function startInsights() {
  drawView('insights', ['model', 'where', 'clips'], showInsights);
}

function showInsights() {
  const {weak_groups: weak, domain_gaps: gaps, duplicates, transcripts} = DATA.insights;
  const own = (list) => list.filter(({model}) => model === state.model);
  byId('view-insights').replaceChildren(
    weakPanel(own(weak)), gapPanel(own(gaps)), duplicatePanel(duplicates),
    transcriptPanel(own(transcripts)));
}

function insightPanel(id, title, note, save, content) {
  return el('div', {class: 'panel below', id},
    el('div', {class: 'panel-head'}, el('h2', {}, title),
      save ? el('button', {type: 'button', class: 'quiet', onclick: save}, 'CSV') : null),
    el('p', {class: 'note'}, note), content);
}

const columnHead = (heads) => el('thead', {}, el('tr', {}, heads.map(([text, key, left]) =>
  el('th', {scope: 'col', class: left ? null : 'number'}, key ? term(text, key) : text))));

function weakPanel(groups) {
  const note = 'Groups that are recognised worse than other samples of the same profiles and splits; '
    + 'groups that overlap with a more severe one are left out.';
  const names = ['group', 'profile', 'clips', 'samples', 'word_error_rate', 'excess', 'low', 'high',
    'p_adjusted', 'severity'];
  const save = () => exportList('weak-groups', names, groups.map((group) => [
    conditionText(insightCondition(group.condition)), group.profile ?? 'all', group.n_clips,
    group.n_samples, group.word_error_rate, group.excess, group.low, group.high, group.p_value,
    group.severity]));
  const table = groups.length ? el('div', {class: 'scroll'}, el('table', {class: 'weak'},
    columnHead([['Group', null, true], ['Profile', 'profile', true], ['Clips', 'clips'], ['WER', 'wer'],
      ['Excess, points', 'excess'], ['p', 'p_value'], ['Severity', 'severity'], ['']]),
    el('tbody', {}, groups.map(weakRow)))) : el('p', {class: 'note'}, 'None was found.');
  return insightPanel('weak-groups', 'Low-performing groups', note, groups.length ? save : null, table);
}

const insightCondition = ({column, value, low, high}) =>
  (value !== null ? [column, value] : [column, low, high]);

function weakRow(group) {
  const condition = insightCondition(group.condition);
  const cell = (...content) => el('td', {class: 'number'}, ...content);
  return el('tr', {},
    el('th', {scope: 'row'}, el('button', {type: 'button', class: 'link',
      onclick: () => selectGroup(group, condition)}, shorten(conditionText(condition), 70))),
    el('td', {class: 'profile'}, group.profile ? [profileSign(group.profile, 4), group.profile] : 'all'),
    cell(count(group.n_clips)), cell(percent(group.word_error_rate)),
    cell(points(group.excess), el('small', {}, percentRange(group.low, group.high))),
    cell(pText(group.p_value)), cell(percent(group.severity)),
    cell(el('button', {type: 'button', class: 'quiet', title: 'Samples of the group as CSV',
      onclick: () => exportGroup(group, condition)}, 'CSV')));
}

const pText = (p) => (isMissing(p) ? MISSING : p < 0.001 ? '< 0.001' : fixed(p, 3));

/** Show the samples of a group and nothing else. */
function selectGroup(group, condition) {
  setState({view: 'samples', split: ALL_SPLITS, clips: '', lasso: '', search: '', errors: '', audible: '',
    where: JSON.stringify([condition]),
    hidden: group.profile ? DATA.profiles.filter((name) => name !== group.profile).join(',') : ''});
}

function exportGroup(group, condition) {
  const tests = [conditionTest(condition)];
  if (group.profile) tests.push(textTest('profile_name', (profile) => profile === group.profile));
  exportSamples('csv', view.modelRows.filter(allTests(tests)), 'group');
}

function gapPanel(gaps) {
  const note = 'How far profiles lie apart in what the model makes of them.';
  const names = ['first', 'second', 'clips', 'energy', 'displacement'];
  const save = () => exportList('domain-gaps', names, gaps.map((gap) =>
    [gap.first, gap.second, gap.n_clips, gap.energy, gap.displacement]));
  const table = gaps.length ? el('div', {class: 'scroll'}, el('table', {},
    columnHead([['Profiles', null, true], ['Clips', 'clips'], ['Energy', 'energy'], ['', null, true],
      ['Displacement', 'displacement']]),
    el('tbody', {}, gaps.map((gap) => el('tr', {},
      el('th', {scope: 'row'}, profileSign(gap.first, 4), gap.first, ' – ', profileSign(gap.second, 4),
        gap.second),
      el('td', {class: 'number'}, count(gap.n_clips)),
      el('td', {class: 'number'}, fixed(gap.energy, 3)),
      el('td', {}, svg('svg', {class: 'meter', viewBox: '0 0 60 8', preserveAspectRatio: 'none'},
        svg('rect', {class: 'track', width: 60, height: 8}),
        svg('rect', {class: 'fill', width: 60 * Math.min(1, gap.energy), height: 8}))),
      el('td', {class: 'number'}, isMissing(gap.displacement) ? MISSING : fixed(gap.displacement, 2)))))))
    : el('p', {class: 'note'}, 'The table has no latent vectors, or one profile only.');
  return insightPanel('domain-gaps', 'Domain gap between profiles', note, gaps.length ? save : null, table);
}

function duplicatePanel(kinds) {
  const note = 'The same sound anywhere, and sentences that return in another split.';
  const rows = kinds.flatMap(({kind, pairs}) => pairs.map((pair) => ({kind, ...pair})));
  const facts = (clip) => ['id', 'split', 'reference'].map((name) => textAt(name, ROWS_OF_CLIP[clip][0]));
  const names = ['kind', 'first', 'first_split', 'second', 'second_split', 'same_speaker', 'similarity',
    'first_reference', 'second_reference'];
  const save = () => exportList('duplicates', names, rows.map((pair) => {
    const [a, b] = [facts(pair.first), facts(pair.second)];
    return [pair.kind, a[0], a[1], b[0], b[1], speakerText(pair), pair.similarity, a[2], b[2]];
  }));
  const table = rows.length ? el('div', {class: 'scroll medium'}, el('table', {},
    el('caption', {}, kinds.map(({kind, n_pairs: n, n_clips: clips}) =>
      `${kind}: ${plural(n, 'pair')}, ${plural(clips, 'clip')}`).join('; ')),
    columnHead([['Kind', null, true], ['Clips', null, true], ['Sentence', null, true],
      ['Same speaker', null, true]]),
    el('tbody', {}, rows.slice(0, 100).map((pair) => duplicateRow(pair, facts)))))
    : el('p', {class: 'note'}, 'None was found.');
  return insightPanel('duplicates', 'Duplicates and near-duplicates', note, rows.length ? save : null, table);
}

const speakerText = ({same_speaker: same}) => (same === null ? 'unknown' : same ? 'yes' : 'no');

function duplicateRow(pair, facts) {
  const [a, b] = [facts(pair.first), facts(pair.second)];
  return el('tr', {}, el('td', {}, pair.kind),
    el('th', {scope: 'row'}, el('button', {type: 'button', class: 'link',
      onclick: () => setState({view: 'samples', split: ALL_SPLITS, where: '', lasso: '', search: '',
        clips: `${pair.first},${pair.second}`})},
    `${shortenMiddle(a[0], 20)} (${a[1]}), ${shortenMiddle(b[0], 20)} (${b[1]})`)),
    el('td', {}, shorten(a[2], 70), a[2] === b[2] ? null : el('small', {}, shorten(b[2], 70))),
    el('td', {}, speakerText(pair)));
}

function transcriptPanel(found) {
  const note = 'Clips whose sentence may not be what was said: listen before you blame the model.';
  const names = ['sample', 'sentence', 'hypothesis', 'reasons', 'score'];
  const save = () => exportList('doubtful-transcripts', names, found.map(({row, reasons, score}) => [
    sampleAddress(row), textAt('sentence', row), textAt('hypothesis', row), reasons.join('; '), score]));
  const table = found.length ? el('div', {class: 'scroll medium'}, el('table', {},
    columnHead([['Reference', null, true], ['Recognised', null, true], ['Reasons', null, true]]),
    el('tbody', {}, found.slice(0, 100).map(({row, reasons}) => el('tr', {},
      el('th', {scope: 'row'}, el('button', {type: 'button', class: 'link', 'data-row': row,
        onclick: () => selectRow(row)}, shorten(textAt('reference', row), 60) || '(empty)')),
      el('td', {}, shorten(textAt('hypothesis', row), 60)), el('td', {}, reasons.join('; ')))))))
    : el('p', {class: 'note'}, 'None was found.');
  return insightPanel('transcripts', 'Likely wrong transcripts', note, found.length ? save : null, table);
}
