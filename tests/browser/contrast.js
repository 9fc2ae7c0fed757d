// WCAG 2.2: relative luminance, 4.5 for text, 3 for large text; what lies under a text is blended from the root up.
const parse = (text) => { const n = text.match(/[\d.]+/g).map(Number); return text.startsWith("color(")
  ? [n[0] * 255, n[1] * 255, n[2] * 255, n[3] ?? 1] : [n[0], n[1], n[2], n[3] ?? 1]; };
const over = (top, under) => [0, 1, 2].map((k) => top[k] * top[3] + under[k] * (1 - top[3]));
const light = (c) => { const [r, g, b] = c.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
const line = (el) => { const all = []; for (let e = el; e; e = e.parentElement) all.unshift(e); return all; };
const faint = [];
let seen = 0;
for (const d of $$("details")) d.open = true;
await frame();
const root = parse(getComputedStyle(document.documentElement).backgroundColor);
const night = matchMedia("(prefers-color-scheme: dark)").matches;
const canvas = root[3] ? root : (night ? [18, 18, 18, 1] : [255, 255, 255, 1]);
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const el = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || el.closest("script, style, .hidden, .boxes, .skip, :disabled, option")) continue;
  if (!el.getClientRects().length) continue;
  let under = canvas.slice(0, 3), opacity = 1;
  for (const e of line(el)) {
    const s = getComputedStyle(e);
    under = over(parse(s.backgroundColor), under);
    opacity *= Number(s.opacity);
  }
  const s = getComputedStyle(el), drawn = el.closest("svg.plot");
  const own = drawn ? s.fill : s.color;
  const top = parse(own);
  top[3] *= opacity * (drawn ? Number(s.fillOpacity) : 1);
  const size = parseFloat(s.fontSize), big = size >= 24 || (size >= 18.66 && Number(s.fontWeight) >= 700);
  // Text on the bars and cells of a figure is checked where its colour is chosen.
  if (drawn && ["rgb(255, 255, 255)", "rgb(0, 0, 0)"].includes(own) && el.closest(".fates, .leakage")) continue;
  seen++;
  const found = ratio(over(top, under), under);
  if (found < (big ? 3 : 4.5)) faint.push([found.toFixed(2), el.tagName, String(el.className.baseVal ?? el.className), walker.currentNode.data.trim().slice(0, 40)]);
}
