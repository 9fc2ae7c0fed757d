// WCAG 2.2: contrast of at least 4.5 for text and 3 for large text; backgrounds are blended from the root up.
const parse = (text) => { const n = text.match(/[\d.]+/g).map(Number); return text.startsWith("color(")
  ? [n[0] * 255, n[1] * 255, n[2] * 255, n[3] ?? 1] : [n[0], n[1], n[2], n[3] ?? 1]; };
const blend = (top, under) => [0, 1, 2].map((k) => top[k] * top[3] + under[k] * (1 - top[3]));
const luminance = (c) => { const [r, g, b] = c.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const ratio = (a, b) => { const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
const ancestry = (el) => { const all = []; for (let e = el; e; e = e.parentElement) all.unshift(e); return all; };
const faint = [];
let checked = 0;
for (const d of $$("details")) d.open = true;
await frame();
const root = parse(getComputedStyle(document.documentElement).backgroundColor);
const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
const canvas = root[3] ? root : (isDark ? [18, 18, 18, 1] : [255, 255, 255, 1]);
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const el = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || el.closest("script, style, .hidden, .boxes, .skip, :disabled, option")) continue;
  if (!el.getClientRects().length) continue;
  let under = canvas.slice(0, 3), opacity = 1;
  for (const e of ancestry(el)) {
    const s = getComputedStyle(e);
    under = blend(parse(s.backgroundColor), under);
    opacity *= Number(s.opacity);
  }
  const s = getComputedStyle(el), plot = el.closest("svg.plot");
  const colour = plot ? s.fill : s.color;
  const top = parse(colour);
  top[3] *= opacity * (plot ? Number(s.fillOpacity) : 1);
  const size = parseFloat(s.fontSize), isLarge = size >= 24 || (size >= 18.66 && Number(s.fontWeight) >= 700);
  // The contrast of text on bars and cells is ensured by the code that chooses its colour.
  if (plot && ["rgb(255, 255, 255)", "rgb(0, 0, 0)"].includes(colour) && el.closest(".outcomes, .leakage")) continue;
  checked++;
  const contrast = ratio(blend(top, under), under);
  if (contrast < (isLarge ? 3 : 4.5)) faint.push([contrast.toFixed(2), el.tagName, String(el.className.baseVal ?? el.className), walker.currentNode.data.trim().slice(0, 40)]);
}
