// The sign of each profile: the same shape and colour in audiogram, map, buttons and cards.

const SHAPES = [
  (r) => `M${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`, // circle
  (r) => polygon([[-1, -1], [1, -1], [1, 1], [-1, 1]], r * 0.87), // square
  (r) => polygon([[0, -1.2], [1.1, 0.8], [-1.1, 0.8]], r), // triangle
  (r) => polygon([[0, -1.3], [1.1, 0], [0, 1.3], [-1.1, 0]], r), // diamond
  (r) => polygon([[0, 1.2], [1.1, -0.8], [-1.1, -0.8]], r), // triangle, tip down
  (r) => polygon([[-0.4, -1.2], [0.4, -1.2], [0.4, -0.4], [1.2, -0.4], [1.2, 0.4], [0.4, 0.4],
    [0.4, 1.2], [-0.4, 1.2], [-0.4, 0.4], [-1.2, 0.4], [-1.2, -0.4], [-0.4, -0.4]], r), // plus
  (r) => polygon(radial(10, (i) => (i % 2 ? 0.55 : 1.3)), r), // star
  (r) => polygon(radial(6, () => 1.15), r), // hexagon
];

function polygon(corners, r) {
  return `M${corners.map(([x, y]) => `${(x * r).toFixed(2)} ${(y * r).toFixed(2)}`).join('L')}Z`;
}

function radial(n, radius) {
  return Array.from({length: n}, (_, i) => {
    const angle = (2 * Math.PI * i) / n - Math.PI / 2;
    return [radius(i) * Math.cos(angle), radius(i) * Math.sin(angle)];
  });
}

const shapePath = (profile, r) => SHAPES[DATA.profiles.indexOf(profile) % SHAPES.length](r);

const profileColour = (profile) => `var(--c${DATA.profiles.indexOf(profile) % N_CATEGORIES})`;

/** A profile's sign as a small picture beside its name. */
function profileSign(profile, r = 5) {
  const size = 2.8 * r;
  return svg('svg', {
    class: 'sign', width: size, height: size, viewBox: `${-size / 2} ${-size / 2} ${size} ${size}`,
    'aria-hidden': 'true',
  }, svg('path', {d: shapePath(profile, r), style: {fill: profileColour(profile)}}));
}
