// Scrolls the explorer: first stretches as a wheel does, timing each frame and, between frames, a fixed computation that
// measures the speed of the machine; then to the end, several windows at a time.
const nextFrame = () => new Promise((done) => {
  const timeout = setTimeout(done, 3000);
  requestAnimationFrame(() => { clearTimeout(timeout); done(); });
});
const list = document.getElementById("rows");
list.scrollIntoView();
for (let k = 0; k < 10; k++) await frame();
const ready = performance.now();
const counts = () => [$$(".strip").length, $$(".row").length, document.getElementsByTagName("*").length];
const lastLabel = () => $$(".row").at(-1).getAttribute("aria-label");
const drawnLabels = new Set(), maxCounts = counts(), stretches = [];
const timeComputation = () => {
  const start = performance.now();
  let x = 1;
  for (let k = 0; k < 3e6; k++) x = (Math.imul(x, 1103515245) + 12345) | 0;
  return [performance.now() - start, x][0];
};
const median = (times) => times.sort((a, b) => a - b)[times.length >> 1];
for (let k = 0; k < 20; k++) timeComputation(); // until it is compiled
const record = () => {
  counts().forEach((n, k) => { maxCounts[k] = Math.max(maxCounts[k], n); });
  for (const row of $$(".row")) if (row.querySelector(".strip")) drawnLabels.add(row.getAttribute("aria-label"));
};
for (let stretch = 0; stretch < STRETCHES; stretch++) {
  const frames = [], computations = [];
  for (let k = 0; k < WHEEL; k++) {
    const start = performance.now();
    window.scrollBy(0, 240);
    await nextFrame();
    frames.push(performance.now() - start);
    computations.push(timeComputation());
    record();
  }
  stretches.push({ median: median(frames), longest: frames.at(-1), computation: median(computations) });
}
const empty = [];
let steps = 0, maxFrames = 0;
const listBottom = () => list.getBoundingClientRect().bottom;
for (; listBottom() > innerHeight && steps < 2000 && TO_END; steps++) {
  window.scrollBy(0, 16000);
  // Some frames pass until the observers report, the block is opened, and the row is drawn.
  const middle = () => document.elementFromPoint(innerWidth / 2, innerHeight / 2);
  const isBlank = () => middle()?.closest("#rows") && !middle().closest(".row")?.querySelector(".strip");
  let k = 0;
  do await nextFrame(); while (++k < 10 && isBlank());
  if (isBlank()) empty.push([scrollY, middle().outerHTML.slice(0, 200), $$(".strip").length]);
  maxFrames = Math.max(maxFrames, k);
  record();
}
if (TO_END) for (let k = 0; k < 10; k++) {
  list.scrollIntoView({ block: "end" });
  await nextFrame();
  record();
}
return { stretches, drawn: maxCounts[0], shells: maxCounts[1], nodes: maxCounts[2],
  ready, empty, steps, maxFrames, reachedEnd: drawnLabels.has(TO_END ? lastLabel() : "") };
