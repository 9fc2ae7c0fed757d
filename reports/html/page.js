"use strict";
/* The grid: one row a sample, one column a method.  Rows near the window are drawn, rows around them are empty shells of
   the right height, and blocks of rows beyond are one empty box each, so that thousands of samples stay smooth.  Every text goes in as a text node: nothing here writes markup.
   One file because controls, rows and viewer act on one state. */
(async () => {
  /** Long data is deflated and in base64. */
  async function unpacked(text) {
    const letters = atob(text), bytes = new Uint8Array(letters.length);
    for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
  }
  const source = document.getElementById("data");
  const data = JSON.parse(source.dataset.packed ? await unpacked(source.textContent) : source.textContent);
  const COLOURS = ["#4cc9ff", "#ffd23f", "#ff8ad8", "#7be07b", "#ff9f40", "#cdb0ff", "#5ef2d6", "#ff7b7b"];
  const STATUS = { degenerate: "degenerate", filtered: "filtered", not_applicable: "not applicable", failed: "failed", missing: "missing" };
  const SVG = document.getElementById("svg").namespaceURI;
  const PRINTED = 100, BLOCK = 25, NEAR = 1000, AROUND = 3000; // rows in print and in a block; pixels from the window
  const SOUND = "sound";
  const $ = (id) => document.getElementById(id);

  const state = {
    on: new Set(data.columns.flatMap((c, i) => (c.kind === "reference" ? [] : [i]))),
    targets: true, detections: true, least: 0.25, size: 160, seed: data.seeds.length > 1 ? String(data.seeds[0]) : "",
    sort: "suite", metric: 0, of: Math.max(0, data.columns.findIndex((c) => c.kind === "method")),
    category: "", count: "", status: "", fate: "", text: "", strata: {},
  };

  // Rows: sample x seed, with its images by method number.
  const rows = [];
  {
    const seeds = data.seeds.length ? data.seeds : [0];
    const at = new Map(seeds.map((seed, i) => [seed, i]));
    data.samples.forEach((sample, s) => seeds.forEach((seed) => rows.push({ s, sample, seed, images: [], shell: null })));
    const { m, s, e, p, d, more } = data.images;
    // `at` is the first of the image's targets, `from` the first of its detections.
    for (let x = 0, target = 0, from = 0; x < m.length; x++) {
      const image = { x, at: target, from, m: m[x], p: p[x], d: d[x], ...more[x] };
      target += data.samples[s[x]].instances.length;
      from += d[x];
      rows[s[x] * seeds.length + at.get(e[x])].images[m[x]] = image;
    }
  }

  function h(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (value === undefined || value === null || value === false) continue;
      if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else element.setAttribute(key, value === true ? "" : value);
    }
    element.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
    return element;
  }
  function v(tag, attributes, ...children) {
    const element = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }
  /** A name, which may go on in the next line after _ and before @. */
  const called = (name) => h("bdi", {}, name.split(/(?<=_)(?=[^_@])|(?<=[^@])(?=@)/).flatMap((part) => [part, h("wbr")]).slice(0, -1));
  const colour = (i) => COLOURS[i % COLOURS.length];
  const textOf = (row) => (row.text ||= `${row.sample.id} ${row.sample.prompt} ${row.sample.instances.map((i) => i.phrase).join(" ")}`.toLowerCase());
  const fixed = (x) => x.toFixed(3).replace("-", "\u2212");
  const short = (text, n) => (text.length > n ? text.slice(0, n - 1) + "\u2026" : text);
  const titleOf = (column) => (column.kind === "truth" ? "true image" : column.name);
  const imageOf = (row, column) => (column.method === null ? undefined : row.images[column.method]);
  const pictureOf = (row, column) => {
    const image = imageOf(row, column);
    if (image && image.p !== null) return image.p;
    return column.kind === "truth" ? row.sample.truth : null;
  };
  /** A stored whole number as a score, as [number of the reason], or as null. */
  const REASON = 1e9;
  const outcome = (x) => (x === null || x === undefined ? null : x >= REASON ? [x - REASON] : x / 1e4);
  const scoreOf = (image, metric) => outcome(data.scores[metric][image.x]);
  const partOf = (image, target, metric) => (data.parts[metric] ? outcome(data.parts[metric][image.at + target]) : null);
  const fateOf = (image, target) => (data.kinds.length ? data.fates[image.at + target] : -1);
  const fileOf = (image) => image.f || (image.p !== null && !data.pictures[image.p].startsWith("data:") ? data.pictures[image.p] : null);
  const detections = (image) => Array.from({ length: image.d }, (_, k) => {
    const from = 6 * (image.from + k), [a, b, c, d, score, word] = data.detections.slice(from, from + 6);
    return [a / 1000, b / 1000, c / 1000, d / 1000, score / 1000, data.words[word]];
  });
  const valueOf = (row, column, metric) => {
    const image = imageOf(row, column);
    const value = image ? scoreOf(image, metric) : null;
    return typeof value === "number" ? value : null;
  };

  // ---- pictures with boxes ----
  function overlap(a, b) {
    const w = Math.min(a[2], b[2]) - Math.max(a[0], b[0]), t = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
    if (w <= 0 || t <= 0) return 0;
    return (w * t) / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * t);
  }
  /** Number of the target of the same category that a detection covers best, or -1. */
  function nearest(detection, instances) {
    let best = -1, most = 0;
    instances.forEach((instance, i) => {
      const share = instance.category === detection[5] ? overlap(detection, instance.box) : 0;
      if (share > most) [best, most] = [i, share];
    });
    return best;
  }
  function boxes(row, image, width, height, large) {
    const svg = v("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true", class: "boxes" });
    const font = large ? 13 : 9.5;
    const draw = (box, paint, dash, group) => {
      const place = { x: box[0] * width, y: box[1] * height, width: (box[2] - box[0]) * width, height: (box[3] - box[1]) * height, fill: "none" };
      group.append(v("rect", { ...place, stroke: "#000", "stroke-opacity": 0.55, "stroke-width": 3.2 }));
      group.append(v("rect", { ...place, stroke: paint, "stroke-width": 1.6, ...(dash ? { "stroke-dasharray": "5 3" } : {}) }));
    };
    const label = (text, x, y, paint, group) => {
      // Half an em a character is near enough to keep a label inside the picture.
      const left = Math.max(1, Math.min(x + 2, width - text.length * font * 0.5 - 2)), base = Math.max(font, Math.min(y, height - 2));
      group.append(v("text", { x: left, y: base, fill: paint, stroke: "#000", "stroke-opacity": 0.8, "stroke-width": 2.6,
        "stroke-linejoin": "round", "paint-order": "stroke", "font-size": font, "font-weight": 650 }, text));
    };
    if (image && state.detections) {
      const group = v("g", {});
      for (const found of detections(image).filter((d) => d[4] >= state.least).reverse()) {
        const near = nearest(found, row.sample.instances), paint = near < 0 ? "#fff" : colour(near);
        draw(found, paint, false, group);
        label(`${short(found[5], large ? 40 : 12)} ${found[4].toFixed(2)}`, found[0] * width, found[3] * height - 3, paint, group);
      }
      svg.append(group);
    }
    if (state.targets) {
      const group = v("g", {});
      row.sample.instances.forEach((instance, i) => {
        draw(instance.box, colour(i), true, group);
        label(String(i + 1), instance.box[0] * width, instance.box[1] * height + font, colour(i), group);
      });
      svg.append(group);
    }
    return svg;
  }
  function picture(row, column, width, large) {
    const [cw, ch] = row.sample.canvas;
    const height = Math.max(24, Math.min(Math.round((width * ch) / cw), width * 3));
    const number = pictureOf(row, column), image = imageOf(row, column);
    const frame = h("span", { class: "frame" });
    frame.style.width = `${width}px`;
    frame.style.height = `${height}px`;
    if (number === null) {
      const why = image && image.gone ? "picture file not readable" : image ? STATUS[image.t] || "no picture" : "not requested";
      frame.classList.add("absent");
      frame.append(h("span", {}, why));
      if (image && image.gone) frame.append(boxes(row, image, width, height, large));
      return frame;
    }
    const img = h("img", { alt: "", decoding: "async", width, height, src: data.pictures[number] });
    if (Math.max(...data.sizes[number]) <= 128) img.className = "pixels";
    frame.append(img, boxes(row, image, width, height, large));
    return frame;
  }
  function badge(image) {
    return image && image.t ? h("span", { class: `badge ${image.t}` }, STATUS[image.t] || image.t) : null;
  }
  function scoreList(image, only) {
    if (!image) return null;
    const list = h("dl", { class: "numbers" });
    data.metrics.forEach(([, title], k) => {
      const value = scoreOf(image, k);
      if (value === null || (only && k >= only && k !== state.metric)) return;
      const chosen = state.sort !== "suite" && k === state.metric ? "chosen" : null;
      const shown = typeof value === "number" ? fixed(value) : h("span", { class: "quiet", title: data.reasons[value[0]] }, "not scored");
      list.append(h("div", { class: chosen }, h("dt", {}, title), h("dd", {}, shown)));
    });
    return list;
  }

  // ---- rows ----
  function about(row) {
    const { sample } = row;
    const long = sample.prompt.length > 240;
    const prompt = h("p", { class: long ? "prompt clamp" : "prompt", dir: "auto" }, sample.prompt);
    const more = long && h("button", { type: "button", class: "link", "aria-expanded": "false", onclick: (event) => {
      const open = prompt.classList.toggle("clamp") === false;
      event.target.setAttribute("aria-expanded", String(open));
      event.target.textContent = open ? "less" : "whole prompt";
    } }, "whole prompt");
    const strata = Object.entries(sample.strata).map(([key, value]) => `${key} ${value}`.replace(/[_\s]+/g, "\u00a0")).join(" · ");
    return h("div", { class: "about" },
      h("h3", {}, called(sample.id), data.seeds.length > 1 ? h("span", { class: "quiet" }, ` seed ${row.seed}`) : null),
      prompt, more,
      h("ol", { class: "phrases" }, sample.instances.map((instance, i) => {
        const mark = h("span", { class: "swatch", "aria-hidden": "true" }, String(i + 1));
        mark.style.backgroundColor = colour(i);
        const reference = instance.reference === null ? null
          : h("img", { class: "reference pixels", src: data.pictures[instance.reference], alt: "reference", width: 32, height: 32 });
        return h("li", {}, mark, reference, h("span", { dir: "auto" }, instance.phrase));
      })),
      strata && h("p", { class: "bins" }, strata));
  }
  /** ``2 merged, 3 missing``: what went wrong with which target. */
  function wrongs(row, image) {
    const found = row.sample.instances.flatMap((_, i) => {
      const fate = image ? fateOf(image, i) : -1;
      return fate < 0 || data.kinds[fate] === SOUND ? [] : [`${i + 1} ${data.kinds[fate]}`];
    });
    return found.length ? h("p", { class: "reason" }, found.join(", ")) : null;
  }
  function cell(row, index) {
    const column = data.columns[index], image = imageOf(row, column);
    const has = pictureOf(row, column) !== null;
    const title = titleOf(column);
    const reason = image && image.t ? data.reasons[image.r] : "";
    return h("figure", { class: `cell ${column.kind}` },
      h("figcaption", { title: column.name }, h("bdi", {}, title)),
      h("button", { type: "button", class: "picture", "data-column": index, "aria-label": `Open ${title}, sample ${row.sample.id}`,
        onclick: () => view(row, index) }, picture(row, column, state.size, false), has ? badge(image) : null),
      reason && !has ? h("p", { class: "reason", dir: "auto", title: reason }, short(reason, 120)) : null,
      column.kind === "method" ? wrongs(row, image) : null,
      scoreList(image, data.headline));
  }
  let shared = 0; // All strips stand at the same place, so that a column stays a column.
  const live = new Set();
  function fill(row) {
    const strip = h("div", { class: "strip", tabindex: "0", role: "group", "aria-label": `Images of sample ${row.sample.id}` },
      [...state.on].sort((a, b) => a - b).map((index) => cell(row, index)));
    strip.addEventListener("scroll", () => {
      if (Math.abs(strip.scrollLeft - shared) < 1) return;
      shared = strip.scrollLeft;
      for (const other of live) if (other !== strip) other.scrollLeft = shared;
    }, { passive: true });
    row.shell.replaceChildren(about(row), strip);
    row.shell.style.minHeight = "";
    row.strip = strip;
    live.add(strip);
    if (shared) strip.scrollLeft = shared; // makes the browser lay out at once
  }
  function empty(row, height) {
    if (!row.strip) return;
    row.height = height || row.height;
    row.shell.style.minHeight = `${row.height}px`;
    live.delete(row.strip);
    row.strip = null;
    row.shell.replaceChildren();
  }
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const row = rows[Number(entry.target.dataset.row)];
      if (row.shell !== entry.target) continue; // its block was closed meanwhile
      if (!entry.isIntersecting) { if (!row.shell.contains(document.activeElement)) empty(row, entry.boundingClientRect.height); }
      else if (!row.strip) fill(row);
    }
  }, { root: document, rootMargin: `${NEAR}px 0px` });

  // ---- blocks of rows ----
  let blocks = [];
  function open(block) {
    if (block.open) return;
    block.open = true;
    block.box.style.minHeight = "";
    block.box.replaceChildren(...block.rows.map(shellOf));
    for (const row of block.rows) watcher.observe(row.shell);
  }
  function close(block, height) {
    if (!block.open || blocks.length === 1 || block.box.contains(document.activeElement)) return;
    for (const row of block.rows) {
      watcher.unobserve(row.shell);
      empty(row);
      row.shell = null;
    }
    block.open = false;
    block.box.style.minHeight = `${height}px`;
    block.box.replaceChildren();
  }
  const surveyor = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const block = blocks[Number(entry.target.dataset.block)];
      if (!block || block.box !== entry.target) continue; // of an earlier order
      if (entry.isIntersecting) open(block); else close(block, entry.boundingClientRect.height);
    }
  }, { root: document, rootMargin: `${AROUND}px 0px` });

  // ---- order and filter ----
  const methodsOn = () => data.columns.filter((column, index) => column.kind === "method" && state.on.has(index));
  function failed(row, image) {
    return image && row.sample.instances.some((_, i) => {
      const fate = fateOf(image, i);
      return fate >= 0 && (state.fate === "any" ? data.kinds[fate] !== SOUND : fate === Number(state.fate));
    });
  }
  function matches(row) {
    const { sample } = row;
    if (state.seed !== "" && String(row.seed) !== state.seed) return false;
    if (state.category && !sample.instances.some((i) => i.category === state.category)) return false;
    if (state.count && String(sample.instances.length) !== state.count) return false;
    if (Object.entries(state.strata).some(([key, value]) => value && sample.strata[key] !== value)) return false;
    if (state.text && !textOf(row).includes(state.text)) return false;
    if (state.fate !== "" && !methodsOn().some((column) => failed(row, imageOf(row, column)))) return false;
    if (!state.status) return true;
    return [...state.on].some((index) => {
      const image = imageOf(row, data.columns[index]);
      return image && (state.status === "any" ? image.t && data.columns[index].kind === "method" : image.t === state.status);
    });
  }
  function key(row) {
    if (state.sort === "disagree") {
      const values = data.columns.flatMap((c, i) => (c.kind === "method" && state.on.has(i) ? [valueOf(row, c, state.metric)] : []))
        .filter((x) => x !== null);
      return values.length < 2 ? null : Math.min(...values) - Math.max(...values);
    }
    const value = valueOf(row, data.columns[state.of], state.metric);
    const ascending = data.metrics[state.metric][2] === (state.sort === "worst");
    return value === null ? null : ascending ? value : -value;
  }
  let shown = [];
  function arrange() {
    shown = rows.filter(matches);
    let without = 0;
    if (state.sort !== "suite" && data.metrics.length) {
      const keyed = shown.map((row) => [row, key(row)]);
      without = keyed.filter((k) => k[1] === null).length;
      // Rows without a number keep the suite's order at the end.
      keyed.sort((a, b) => (a[1] === null) - (b[1] === null) || (a[1] === null ? 0 : a[1] - b[1]));
      shown = keyed.map((k) => k[0]);
    }
    watcher.disconnect();
    surveyor.disconnect();
    live.clear();
    for (const block of blocks) for (const row of block.rows) row.shell = row.strip = null;
    // Near the true heights, so that a jump past the rows lands where it should.
    const narrow = window.innerWidth <= 760;
    for (const row of shown) row.height = state.size + 156 + (narrow ? 96 + 38 * row.sample.instances.length : 0);
    blocks = [];
    for (let from = 0; from < shown.length; from += BLOCK) {
      const some = shown.slice(from, from + BLOCK), box = h("div", { "data-block": blocks.length });
      box.style.minHeight = `${some.reduce((sum, row) => sum + row.height, 0)}px`;
      for (const row of some) row.block = blocks.length;
      blocks.push({ box, rows: some, open: false });
    }
    $("rows").replaceChildren(...blocks.map((block) => block.box));
    if (blocks.length) open(blocks[0]);
    for (const block of blocks) surveyor.observe(block.box);
    $("none").hidden = shown.length > 0;
    const all = state.seed === "" ? rows.length : data.samples.length;
    $("tally").textContent = `${shown.length.toLocaleString("en")} of ${all.toLocaleString("en")}` +
      (without ? `, ${without} without a number stand last` : "");
  }
  rows.forEach((row, i) => { row.i = i; });
  function shellOf(row) {
    row.shell = h("article", { class: "row", "data-row": row.i, "aria-label": `Sample ${row.sample.id}` });
    row.shell.style.minHeight = `${row.height}px`;
    return row.shell;
  }
  function refill() {
    const here = document.activeElement.closest(".row"), column = document.activeElement.dataset.column;
    for (const row of rows) if (row.strip) { live.delete(row.strip); fill(row); }
    // Whoever steps through the rows by keys stays where they were.
    if (here) (here.querySelector(`[data-column="${column}"]`) || here.querySelector(".strip")).focus({ preventScroll: true });
  }

  // ---- controls ----
  function select(label, options, value, change, attributes) {
    const box = h("select", attributes, options.map(([key, text]) => h("option", { value: key, selected: String(key) === String(value) }, text)));
    box.addEventListener("change", () => change(box.value));
    return h("label", { class: "field" }, h("span", {}, label), box);
  }
  function check(label, value, change, key) {
    const box = h("input", { type: "checkbox", checked: value, "aria-keyshortcuts": key });
    box.addEventListener("change", () => change(box.checked));
    return h("label", { class: "check" }, box, h("span", {}, label));
  }
  function controls() {
    const form = $("filters");
    const ordering = () => {
      const of = form.querySelector("[name=of]"), metric = form.querySelector("[name=metric]");
      metric.disabled = state.sort === "suite";
      of.disabled = state.sort === "suite" || state.sort === "disagree";
    };
    const categories = [...new Set(data.samples.flatMap((s) => s.instances.map((i) => i.category)))].sort();
    const counts = [...new Set(data.samples.map((s) => s.instances.length))].sort((a, b) => a - b);
    const present = [...new Set(Object.values(data.images.more).flatMap((i) => (i.t ? [i.t] : [])))];
    const any = [["", "any"]];
    form.replaceChildren(
      h("div", { class: "fields" },
        data.metrics.length ? [
          select("Order", [["suite", "as in the suite"], ["worst", "worst first"], ["best", "best first"], ["disagree", "methods disagree most"]],
            state.sort, (x) => { state.sort = x; ordering(); arrange(); }, { name: "sort" }),
          select("by metric", data.metrics.map((m, i) => [i, m[1]]), state.metric, (x) => { state.metric = Number(x); arrange(); }, { name: "metric" }),
          select("of method", data.columns.flatMap((c, i) => (c.method === null ? [] : [[i, short(titleOf(c), 40)]])), state.of,
            (x) => { state.of = Number(x); arrange(); }, { name: "of" }),
        ] : []),
      h("div", { class: "fields" },
        select("Category", [...any, ...categories.map((c) => [c, c])], "", (x) => { state.category = x; arrange(); }, { name: "category" }),
        "count" in data.strata ? null
          : select("Instances", [...any, ...counts.map((c) => [c, c])], "", (x) => { state.count = x; arrange(); }, { name: "count" }),
        Object.entries(data.strata).map(([key, values]) => select(key.replaceAll("_", " "), [...any, ...values.map((x) => [x, x])], "",
          (x) => { state.strata[key] = x; arrange(); }, { name: `stratum-${key}` })),
        present.length ? select("Image is", [...any, ["any", "not ok, any method"], ...present.map((p) => [p, STATUS[p] || p])], "",
          (x) => { state.status = x; arrange(); }, { name: "status" }) : null,
        data.kinds.length ? select("A target is", [...any, ["any", "not sound"], ...data.kinds.map((kind, i) => [i, kind])], "",
          (x) => { state.fate = x; arrange(); }, { name: "fate" }) : null,
        data.seeds.length > 1 ? select("Seed", [...data.seeds.map((s) => [s, s]), ["", "all"]], state.seed,
          (x) => { state.seed = x; arrange(); }, { name: "seed" }) : null,
        h("label", { class: "field search" }, h("span", {}, "Text"), h("input", { type: "search", name: "text", placeholder: "prompt or id", autocomplete: "off",
          oninput: (event) => { state.text = event.target.value.trim().toLowerCase(); arrange(); } })),
        h("button", { type: "reset" }, "Reset")));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => {
      Object.assign(state, { sort: "suite", category: "", count: "", status: "", fate: "", text: "", strata: {} });
      controls();
      arrange();
    }, { once: true });
    if (data.metrics.length) ordering();
  }
  $("columns").append(...data.columns.map((column, index) => check(titleOf(column), state.on.has(index), (on) => {
    if (on) state.on.add(index); else state.on.delete(index);
    arrange();
  })));
  $("display").append(
    select("Image size", [[120, "small"], [160, "medium"], [240, "large"], [320, "largest"]], state.size, (x) => { state.size = Number(x); arrange(); }, { name: "size" }),
    select("Detections from score", [["0.25", "0.25"], ["0.5", "0.50"], ["0.75", "0.75"], ["0.9", "0.90"]], "0.25", (x) => { state.least = Number(x); refill(); }, { name: "least" }));
  $("bar").append(
    h("output", { id: "tally", "aria-live": "polite" }),
    h("span", { class: "group" },
      check("targets", true, (on) => { state.targets = on; refill(); }, "t"),
      check("detections", true, (on) => { state.detections = on; refill(); }, "d")));

  // ---- one image, large ----
  const viewer = $("viewer");
  let place = null;
  function view(row, index) {
    const column = data.columns[index], image = imageOf(row, column);
    place = [row, index];
    const width = Math.max(200, Math.min(512, window.innerWidth - 58, ((window.innerHeight - 200) * row.sample.canvas[0]) / row.sample.canvas[1]));
    const known = data.metrics.map((m, k) => [m, k]);
    const used = image ? known.filter(([, k]) => row.sample.instances.some((_, i) => partOf(image, i, k) !== null)) : [];
    const said = (x) => (typeof x === "number" ? fixed(x) : x === null || x === undefined ? "\u2013" : `not scored: ${data.reasons[x[0]]}`);
    const step = (words, down, across) => h("button", { type: "button", "aria-label": words, title: words, onclick: () => move(down, across) },
      { "-1,0": "\u2191", "1,0": "\u2193", "0,-1": "\u2190", "0,1": "\u2192" }[`${down},${across}`]);
    viewer.replaceChildren(
      h("div", { class: "viewer-head" },
        h("h3", { id: "viewer-title" }, called(titleOf(column)), h("span", { class: "quiet" }, " ", called(row.sample.id), ` seed ${row.seed}`)),
        h("span", { class: "group" }, step("previous sample", -1, 0), step("next sample", 1, 0), step("previous column", 0, -1), step("next column", 0, 1),
          h("button", { type: "button", onclick: () => viewer.close() }, "Close"))),
      h("div", { class: "viewer-body" },
        h("div", {}, picture(row, column, Math.round(width), true), h("p", {}, badge(image), " ", image && fileOf(image) ? h("a", { href: fileOf(image), target: "_blank", rel: "noopener" }, "full-size file") : null)),
        h("div", { class: "viewer-facts" },
          image && image.t ? h("p", { class: "reason", dir: "auto" }, data.reasons[image.r]) : null,
          h("p", { class: "prompt", dir: "auto" }, row.sample.prompt),
          scoreList(image, 0),
          h("h4", {}, "Targets"),
          h("ol", { class: "phrases" }, row.sample.instances.map((instance, i) => {
            const mark = h("span", { class: "swatch", "aria-hidden": "true" }, String(i + 1));
            mark.style.backgroundColor = colour(i);
            const fate = image ? fateOf(image, i) : -1;
            return h("li", {}, mark, h("span", {}, h("span", { dir: "auto" }, instance.phrase),
              fate < 0 ? null : h("b", {}, ` ${data.kinds[fate]}`),
              used.length ? h("span", { class: "quiet" }, ` ${used.map(([m, k]) => `${m[1]} ${said(partOf(image, i, k))}`).join(", ")}`) : null));
          })),
          image && image.d ? [h("h4", {}, "Detections"), h("p", { class: "quiet" }, detections(image).map((d) => `${d[5]} ${d[4].toFixed(2)}`).join(", "))] : null,
          image && image.n ? [h("h4", {}, "Notes"), h("ul", {}, image.n.map((n) => h("li", { dir: "auto" }, n)))] : null)));
    if (!viewer.open) viewer.showModal();
  }
  function move(down, across) {
    const columns = [...state.on].sort((a, b) => a - b);
    const row = shown[shown.indexOf(place[0]) + down], column = columns[columns.indexOf(place[1]) + across];
    if (row && column !== undefined) view(row, column);
  }
  viewer.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (step) { event.preventDefault(); move(...step); }
  });
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });

  // ---- keys outside fields and the large view: j and k step, Enter opens, t and d toggle boxes ----
  document.addEventListener("keydown", (event) => {
    if (viewer.open || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    const toggle = document.querySelector(`#bar [aria-keyshortcuts="${CSS.escape(event.key)}"]`);
    if (toggle) { toggle.click(); return; }
    const step = { j: 1, k: -1 }[event.key];
    if (!step || !shown.length) return;
    const here = event.target.closest(".row"), at = here ? shown.indexOf(rows[Number(here.dataset.row)]) : -1;
    const row = shown[Math.max(0, Math.min(shown.length - 1, at + step))];
    open(blocks[row.block]);
    if (!row.strip) fill(row);
    row.shell.scrollIntoView({ block: "start" });
    (row.shell.querySelector(".picture") || row.strip).focus({ preventScroll: true });
  });

  // ---- print: what is filtered and ordered, up to a bound that is said ----
  let folded = [];
  window.addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("header details, main > section details")].filter((d) => !d.open && !d.classList.contains("panel"));
    for (const part of folded) part.open = true;
    blocks.forEach((block, i) => { if (i * BLOCK < PRINTED) open(block); else block.box.hidden = true; });
    shown.forEach((row, i) => { if (i < PRINTED && !row.strip) fill(row); });
    if (shown.length > PRINTED) $("rows").append(h("p", { id: "printed" }, `Printed: the first ${PRINTED} of ${shown.length} rows.`));
  });
  window.addEventListener("afterprint", () => {
    for (const part of folded) part.open = false;
    folded = [];
    for (const block of blocks) block.box.hidden = false;
    if ($("printed")) $("printed").remove();
  });

  $("explorer").hidden = false;
  for (const panel of document.querySelectorAll("details.panel")) panel.open = window.innerWidth > 900;
  controls();
  arrange();
})();
