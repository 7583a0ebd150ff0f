// Nearest neighbours of a sample, by the principal components of the latent vectors.

const N_NEIGHBOURS = 8;

/** The nearest samples of the same model: [{row, distance}], the clip itself left out. */
function nearestRows(row, n = N_NEIGHBOURS) {
  const {latents} = LATENT;
  if (latents === null) return [];
  latents.decoded ??= decodeArray(latents.values);
  const {decoded, n_components: size} = latents;
  const own = row * size;
  const nearest = [];
  for (const other of view.modelRows) {
    if (CLIP_OF_ROW[other] === CLIP_OF_ROW[row]) continue;
    let distance = 0;
    for (let i = 0, at = other * size; i < size; i++) distance += (decoded[own + i] - decoded[at + i]) ** 2;
    if (nearest.length === n && distance >= nearest[n - 1].distance) continue;
    const place = nearest.findIndex((known) => known.distance > distance);
    nearest.splice(place < 0 ? nearest.length : place, 0, {row: other, distance});
    nearest.length = Math.min(nearest.length, n);
  }
  return nearest;
}

/** A list of neighbours that is found when it is opened. */
function neighboursView(row) {
  if (LATENT.latents === null || row < 0) return null;
  const details = el('details', {class: 'columns neighbours'},
    el('summary', {'data-definition': 'neighbours'}, 'Nearest neighbours'));
  details.addEventListener('toggle', () => {
    if (details.open && details.children.length === 1) details.append(neighbourTable(row));
  });
  return details;
}

function neighbourTable(row) {
  const rows = nearestRows(row).map(({row: other}) => other);
  return el('div', {},
    el('p', {class: 'note'}, `Of ${textAt('id', row)} under ${textAt('profile_name', row)}; `,
      `distances in ${LATENT.latents.n_components} components with `,
      `${percent(LATENT.latents.share, 0)} of the variance. `,
      el('button', {type: 'button', class: 'link', onclick: () => setState({
        clips: [row, ...rows].map((one) => CLIP_OF_ROW[one]).join(','),
      })}, 'Select these clips')),
    sampleList(rows));
}
