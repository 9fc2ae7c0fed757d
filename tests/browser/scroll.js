// Scrolls the explorer: stretches as a wheel does, with the time of each frame and that of the same sum between any two,
// which tells how fast the machine is meanwhile; then to its end, a few windows at a time.
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
const seen = new Set(), most = counts(), stretches = [];
const sum = () => {
  const from = performance.now();
  let x = 1;
  for (let k = 0; k < 3e6; k++) x = (Math.imul(x, 1103515245) + 12345) | 0;
  return [performance.now() - from, x][0];
};
const middling = (times) => times.sort((a, b) => a - b)[times.length >> 1];
for (let k = 0; k < 20; k++) sum(); // until it is compiled
const look = () => {
  counts().forEach((n, k) => { most[k] = Math.max(most[k], n); });
  for (const row of $$(".row")) if (row.querySelector(".strip")) seen.add(row.getAttribute("aria-label"));
};
for (let stretch = 0; stretch < STRETCHES; stretch++) {
  const frames = [], sums = [];
  for (let k = 0; k < WHEEL; k++) {
    const from = performance.now();
    window.scrollBy(0, 240);
    await drawn();
    frames.push(performance.now() - from);
    sums.push(sum());
    look();
  }
  stretches.push({ median: middling(frames), longest: frames.at(-1), sum: middling(sums) });
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
return { stretches, drawn: most[0], shells: most[1], nodes: most[2],
  ready, empty, steps, waited, last: seen.has(THROUGH ? LAST() : "") };
