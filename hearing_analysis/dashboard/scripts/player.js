// Sound: one player per profile, only one at a time, all at the same moment of the clip.

const TARGET_DBFS = -23; // of the root mean square when levels are matched
const HEADROOM_DB = 1; // left below full scale

const players = new Map(); // profile -> {audio, playhead, gainDb, gain}
const sound = {context: null, matched: false, addresses: []};

/** Forget the players of the clip that was shown before. */
function clearPlayers() {
  for (const {audio} of players.values()) audio.pause();
  sound.addresses.forEach((address) => URL.revokeObjectURL(address));
  sound.addresses = [];
  players.clear();
}

/** An <audio> element for embedded audio, following `playhead` over the spectrogram. */
function addPlayer(embedded, playhead) {
  const {profile} = embedded;
  const address = soundAddress(embedded);
  const audio = el('audio', {
    controls: true, preload: 'auto', src: address, 'data-profile': profile,
    'aria-label': `Clip under profile ${profile}`,
    onplay: () => { pauseOthers(profile); routeThroughGain(profile); followPlayhead(profile); },
    onseeked: () => placePlayhead(profile),
    onpause: () => placePlayhead(profile),
  });
  players.set(profile, {audio, playhead, gainDb: matchingGain(embedded), gain: null});
  return audio;
}

function soundAddress({flac, in_folder: outside}) {
  if (outside) return flac;
  const address = URL.createObjectURL(new Blob([decodeBase64(flac)], {type: 'audio/flac'}));
  sound.addresses.push(address);
  return address;
}

/** Gain that brings a clip to the target level without clipping. */
function matchingGain({rms_dbfs: rms, peak_dbfs: peak}) {
  return rms === null || peak === null ? 0 : Math.min(TARGET_DBFS - rms, -HEADROOM_DB - peak);
}

/** Play or pause a profile, going on where another profile is. */
function togglePlay(profile) {
  const player = players.get(profile);
  if (!player) return;
  if (!player.audio.paused) player.audio.pause();
  else startPlaying(player, currentMoment());
}

/** Go over to another profile at the same moment, if one is playing. */
function handOver(profile) {
  const playing = [...players.values()].some(({audio}) => !audio.paused);
  const player = players.get(profile);
  if (playing && player?.audio.paused) startPlaying(player, currentMoment());
}

function startPlaying({audio}, moment) {
  if (moment !== null && !audio.ended) audio.currentTime = moment;
  // A pause that comes before playing has begun is no error.
  audio.play().catch((error) => { if (error.name !== 'AbortError') throw error; });
}

/** Where the profile that is playing has got to; null when none is. */
function currentMoment() {
  const playing = [...players.values()].find(({audio}) => !audio.paused);
  return playing ? playing.audio.currentTime : null;
}

function pauseOthers(profile) {
  for (const [name, {audio}] of players) if (name !== profile) audio.pause();
}

function followPlayhead(profile) {
  placePlayhead(profile);
  if (players.has(profile) && !players.get(profile).audio.paused) {
    requestAnimationFrame(() => followPlayhead(profile));
  }
}

function placePlayhead(profile) {
  const player = players.get(profile);
  if (!player) return;
  const {audio, playhead} = player;
  playhead.hidden = audio.currentTime === 0;
  playhead.style.left = `${100 * Math.min(audio.currentTime / (audio.duration || 1), 1)}%`;
}

function seek(profile, share) {
  const {audio} = players.get(profile);
  if (Number.isFinite(audio.duration)) audio.currentTime = share * audio.duration;
}

function setMatched(matched) {
  sound.matched = matched;
  // The browser lets a page make sound only after a click, which this is.
  if (matched) sound.context ??= new AudioContext();
  for (const profile of players.keys()) routeThroughGain(profile);
}

/** Once levels have been matched, sound goes through a gain; until then it is left alone. */
function routeThroughGain(profile) {
  if (sound.context === null || DATA.audio_source === 'folder') return;
  const player = players.get(profile);
  if (player.gain === null) {
    player.gain = sound.context.createGain();
    sound.context.createMediaElementSource(player.audio)
      .connect(player.gain).connect(sound.context.destination);
  }
  player.gain.gain.value = sound.matched ? 10 ** (player.gainDb / 20) : 1;
  sound.context.resume();
}
