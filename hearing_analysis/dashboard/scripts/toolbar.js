// Header and filters: split, model, profiles, theme.

const AUDIO_PLACES = {
  page: 'in this page', folder: 'in the folder “audio” beside this page', server: 'served on this machine',
};

function startToolbar() {
  const {n_clips: nClips, n_rows: nRows, profiles, models} = DATA;
  byId('subtitle').append(
    ` ${plural(nClips, 'clip')}, ${plural(profiles.length, 'hearing profile')}, `,
    `${plural(nRows, 'sample')}, recognised by ${models.join(' and ')}.`,
  );
  byId('footer').textContent = `hearing-analysis ${DATA.version}. Audio of `
    + `${count(DATA.clips_with_audio.length)} of ${plural(nClips, 'clip')} is ${AUDIO_PLACES[DATA.audio_source]}; `
    + 'nothing is loaded from the network.';
  fillSelect('split', [...DATA.splits, ALL_SPLITS]);
  fillSelect('model', models);
  byId('model-field').hidden = models.length === 1;
  byId('profiles').append(...profiles.map(profileButton));
  startTheme();
  bindSearch();
  bindCheck('errors');
  bindCheck('audible');
  onChange(['hidden'], showHidden);
  showHidden();
}

function fillSelect(key, values) {
  const select = byId(key);
  select.append(...values.map((value) => option(value, value)));
  select.addEventListener('change', () => setState({[key]: select.value}));
  const show = () => { select.value = state[key]; };
  onChange([key], show);
  show();
}

function profileButton(profile) {
  return el('button', {
    type: 'button', class: 'chip', 'data-profile': profile,
    onclick: () => toggleProfile(profile),
  }, profileSign(profile), profile);
}

function toggleProfile(profile) {
  const hidden = hiddenProfiles();
  if (!hidden.delete(profile)) hidden.add(profile);
  setState({hidden: DATA.profiles.filter((name) => hidden.has(name)).join(',')});
}

function showHidden() {
  const hidden = hiddenProfiles();
  for (const button of byId('profiles').querySelectorAll('button')) {
    button.setAttribute('aria-pressed', String(!hidden.has(button.dataset.profile)));
  }
}

function startTheme() {
  const prefersDark = window.matchMedia('(prefers-color-scheme: dark)');
  const isDark = () => (state.theme ? state.theme === 'dark' : prefersDark.matches);
  const show = () => {
    if (state.theme) document.documentElement.dataset.theme = state.theme;
    else delete document.documentElement.dataset.theme;
    byId('theme').textContent = isDark() ? 'Light' : 'Dark';
    byId('theme').setAttribute('aria-label', `Switch to ${isDark() ? 'light' : 'dark'} colours`);
  };
  byId('theme').addEventListener('click', () => setState({theme: isDark() ? 'light' : 'dark'}));
  prefersDark.addEventListener('change', () => {
    show();
    if (state.view === 'map') drawMap();
  });
  onChange(['theme'], show);
  show();
}

function bindSearch() {
  const input = byId('search');
  let waiting = 0;
  input.addEventListener('input', () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => setState({search: input.value}), 150);
  });
  const show = () => { if (input.value !== state.search) input.value = state.search; };
  onChange(['search'], show);
  show();
}

function bindCheck(key) {
  const box = byId(key);
  box.addEventListener('change', () => setState({[key]: box.checked ? 'only' : ''}));
  const show = () => { box.checked = state[key] !== ''; };
  onChange([key], show);
  show();
}
