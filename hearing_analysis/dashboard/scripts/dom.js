// Helpers around the document. Text enters it through text nodes only, never as markup.

const SVG_NAMESPACE = 'http://www.w3.org/2000/svg';

const byId = (id) => document.getElementById(id);

/** Make an HTML element: el('td', {class: 'number'}, 'text', node). */
function el(tag, attributes = {}, ...children) {
  return furnish(document.createElement(tag), attributes, children);
}

/** Make an SVG element. */
function svg(tag, attributes = {}, ...children) {
  return furnish(document.createElementNS(SVG_NAMESPACE, tag), attributes, children);
}

function furnish(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    // The security policy forbids style attributes; properties are allowed.
    else if (name === 'style') setStyle(node, value);
    else node.setAttribute(name, value === true ? '' : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

function setStyle(node, properties) {
  for (const [name, value] of Object.entries(properties)) node.style.setProperty(name, value);
}

/** A word that explains itself on hover and focus; `key` names its definition. */
function term(text, key) {
  return el('span', {class: 'term', tabindex: 0, 'data-definition': key}, text);
}

function option(value, text, selected = false) {
  return el('option', {value, selected}, text);
}

/** The colour a CSS variable has now, in the theme that is shown. */
function cssColour(name) {
  const probe = byId('tooltip');
  probe.style.setProperty('outline-color', `var(${name})`);
  return getComputedStyle(probe).outlineColor;
}
