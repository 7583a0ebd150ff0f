// Definitions on hover and focus, for every element with a data-definition.

function definitionOf(key) {
  if (key in DATA.definitions) return DATA.definitions[key];
  const column = COLUMNS.get(key);
  if (!column) return '';
  const {text, unit} = column.description;
  return unit && unit !== '%' ? `${text} In ${unit}.` : text;
}

function showTooltip(target) {
  const tooltip = byId('tooltip');
  tooltip.textContent = definitionOf(target.dataset.definition);
  tooltip.hidden = !tooltip.textContent;
  if (tooltip.hidden) return;
  target.setAttribute('aria-describedby', 'tooltip');
  const box = target.getBoundingClientRect();
  const left = Math.min(box.left, document.documentElement.clientWidth - tooltip.offsetWidth - 8);
  const below = box.bottom + 6;
  const fits = below + tooltip.offsetHeight < window.innerHeight;
  tooltip.style.left = `${Math.max(8, left)}px`;
  tooltip.style.top = `${fits ? below : Math.max(8, box.top - tooltip.offsetHeight - 6)}px`;
}

function hideTooltip() {
  byId('tooltip').hidden = true;
  document.querySelector('[aria-describedby="tooltip"]')?.removeAttribute('aria-describedby');
}

function startTooltips() {
  for (const event of ['mouseover', 'focusin']) {
    document.addEventListener(event, ({target}) => {
      const explained = target.closest?.('[data-definition]');
      if (explained) showTooltip(explained);
      else if (event === 'mouseover') hideTooltip();
    });
  }
  document.addEventListener('focusout', hideTooltip);
  document.addEventListener('scroll', hideTooltip, true);
  document.addEventListener('keydown', ({key}) => { if (key === 'Escape') hideTooltip(); });
}
