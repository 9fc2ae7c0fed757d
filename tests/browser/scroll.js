// Scrolls the explorer: a while as a wheel does, with the time of each frame; then to its end, a few windows at a time.
const drawn = () => new Promise((done) => {
  const late = setTimeout(done, 3000);
  requestAnimationFrame(() => { clearTimeout(late); done(); });
});
const list = document.getElementById("rows");
list.scrollIntoView();
for (let k = 0; k < 10; k++) await frame();
const ready = performance.now();
const counts = () => [$$(".strip").length, $$(".row").length, document.getElementsByTagName("*").length];
const LAST = () => $$(".row").at(-1).getAttribute("aria-label");
const frames = [], seen = new Set(), most = counts();
const look = () => {
  counts().forEach((n, k) => { most[k] = Math.max(most[k], n); });
  for (const row of $$(".row")) if (row.querySelector(".strip")) seen.add(row.getAttribute("aria-label"));
};
for (let k = 0; k < WHEEL; k++) {
  const from = performance.now();
  window.scrollBy(0, 240);
  await drawn();
  frames.push(performance.now() - from);
  look();
}
const empty = [];
let steps = 0, waited = 0;
const height = () => list.getBoundingClientRect().bottom;
for (; height() > innerHeight && steps < 2000 && THROUGH; steps++) {
  window.scrollBy(0, 16000);
  // Frames to see what is near now, to open the block, to draw the row.
  const middle = () => document.elementFromPoint(innerWidth / 2, innerHeight / 2);
  const blank = () => middle()?.closest("#rows") && !middle().closest(".row")?.querySelector(".strip");
  let k = 0;
  do await drawn(); while (++k < 10 && blank());
  if (blank()) empty.push([scrollY, middle().outerHTML.slice(0, 200), $$(".strip").length]);
  waited = Math.max(waited, k);
  look();
}
if (THROUGH) for (let k = 0; k < 10; k++) {
  list.scrollIntoView({ block: "end" });
  await drawn();
  look();
}
frames.sort((a, b) => a - b);
return { median: frames[frames.length >> 1], longest: frames.at(-1), drawn: most[0], shells: most[1], nodes: most[2],
  ready, empty, steps, waited, last: seen.has(THROUGH ? LAST() : "") };
