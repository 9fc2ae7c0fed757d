"use strict";
/* The sample explorer: one row per sample, one column per method.  Rows near the window are drawn, rows around them are
   empty shells of about the right height, and each block of rows further away is one empty box, so that thousands of
   samples scroll smoothly.  Texts are only ever added as text nodes: nothing here writes markup.
   One file, because controls, rows and viewer share one state. */
(async () => {
  /** Text from zlib data in base64, the form of long data. */
  async function inflate(text) {
    const binary = atob(text), bytes = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
  }
  const source = document.getElementById("data");
  const data = JSON.parse(source.dataset.packed ? await inflate(source.textContent) : source.textContent);
  const COLOURS = ["#4cc9ff", "#ffd23f", "#ff8ad8", "#7be07b", "#ff9f40", "#cdb0ff", "#5ef2d6", "#ff7b7b"];
  const STATUS_LABELS = { degenerate: "degenerate", filtered: "filtered", not_applicable: "not applicable", failed: "failed", missing: "missing" };
  const SVG_NAMESPACE = document.getElementById("svg").namespaceURI;
  const MAX_PRINTED_ROWS = 100, ROWS_PER_BLOCK = 25;
  const DRAW_MARGIN = 1000, BLOCK_MARGIN = 3000; // pixels from the window within which rows are drawn and blocks are opened
  const SOUND = "sound";
  const $ = (id) => document.getElementById(id);

  const state = {
    columns: new Set(data.columns.flatMap((c, i) => (c.kind === "reference" ? [] : [i]))),
    targets: true, detections: true, minScore: 0.25, size: 160, seed: data.seeds.length > 1 ? String(data.seeds[0]) : "",
    sort: "suite", metric: 0, column: Math.max(0, data.columns.findIndex((c) => c.kind === "method")),
    category: "", count: "", status: "", outcome: "", text: "", strata: {},
  };

  // One row per sample and seed, with its images by method number.
  const rows = [];
  {
    const seeds = data.seeds.length ? data.seeds : [0];
    const seedIndex = new Map(seeds.map((seed, i) => [seed, i]));
    data.samples.forEach((sample, s) => seeds.forEach((seed) => rows.push({ s, sample, seed, images: [], shell: null })));
    const { m, s, e, p, d, more } = data.images;
    for (let x = 0, firstTarget = 0, firstDetection = 0; x < m.length; x++) {
      const image = { x, firstTarget, firstDetection, m: m[x], p: p[x], d: d[x], ...more[x] };
      firstTarget += data.samples[s[x]].instances.length;
      firstDetection += d[x];
      rows[s[x] * seeds.length + seedIndex.get(e[x])].images[m[x]] = image;
    }
  }

  /** An HTML element; attributes that start with "on" are event listeners. */
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
  function hSvg(tag, attributes, ...children) {
    const element = document.createElementNS(SVG_NAMESPACE, tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }
  /** A name with line-break opportunities after _ and before @. */
  const wrappedName = (name) => h("bdi", {}, name.split(/(?<=_)(?=[^_@])|(?<=[^@])(?=@)/).flatMap((part) => [part, h("wbr")]).slice(0, -1));
  const colour = (i) => COLOURS[i % COLOURS.length];
  const searchText = (row) => (row.text ||= `${row.sample.id} ${row.sample.prompt} ${row.sample.instances.map((i) => i.phrase).join(" ")}`.toLowerCase());
  const fixed = (x) => x.toFixed(3).replace("-", "\u2212");
  const shorten = (text, n) => (text.length > n ? text.slice(0, n - 1) + "\u2026" : text);
  const columnTitle = (column) => (column.kind === "truth" ? "true image" : column.name);
  const imageOf = (row, column) => (column.method === null ? undefined : row.images[column.method]);
  const thumbnailOf = (row, column) => {
    const image = imageOf(row, column);
    if (image && image.p !== null) return image.p;
    return column.kind === "truth" ? row.sample.truth : null;
  };
  /** A stored integer as a score, as [number of the reason], or as null if the metric does not apply. */
  const REASON_OFFSET = 1e9;
  const decodeScore = (x) => (x === null || x === undefined ? null : x >= REASON_OFFSET ? [x - REASON_OFFSET] : x / 1e4);
  const imageScore = (image, metric) => decodeScore(data.scores[metric][image.x]);
  const targetScore = (image, target, metric) => (data.targetScores[metric] ? decodeScore(data.targetScores[metric][image.firstTarget + target]) : null);
  const targetOutcome = (image, target) => (data.outcomeNames.length ? data.targetOutcomes[image.firstTarget + target] : -1);
  const fullSizeUrl = (image) => image.f || (image.p !== null && !data.thumbnails[image.p].startsWith("data:") ? data.thumbnails[image.p] : null);
  const detectionsOf = (image) => Array.from({ length: image.d }, (_, k) => {
    const start = 6 * (image.firstDetection + k), [x0, y0, x1, y1, score, label] = data.detections.slice(start, start + 6);
    return [x0 / 1000, y0 / 1000, x1 / 1000, y1 / 1000, score / 1000, data.labels[label]];
  });
  const numericScore = (row, column, metric) => {
    const image = imageOf(row, column);
    const value = image ? imageScore(image, metric) : null;
    return typeof value === "number" ? value : null;
  };

  // ---- images with boxes ----
  function iou(a, b) {
    const w = Math.min(a[2], b[2]) - Math.max(a[0], b[0]), h = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
    if (w <= 0 || h <= 0) return 0;
    return (w * h) / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h);
  }
  /** Number of the target of the detection's category that it overlaps most, or -1. */
  function bestTarget(detection, instances) {
    let best = -1, bestIou = 0;
    instances.forEach((instance, i) => {
      const value = instance.category === detection[5] ? iou(detection, instance.box) : 0;
      if (value > bestIou) [best, bestIou] = [i, value];
    });
    return best;
  }
  function renderBoxes(row, image, width, height, large) {
    const svg = hSvg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true", class: "boxes" });
    const font = large ? 13 : 9.5;
    const draw = (box, paint, dash, group) => {
      const geometry = { x: box[0] * width, y: box[1] * height, width: (box[2] - box[0]) * width, height: (box[3] - box[1]) * height, fill: "none" };
      group.append(hSvg("rect", { ...geometry, stroke: "#000", "stroke-opacity": 0.55, "stroke-width": 3.2 }));
      group.append(hSvg("rect", { ...geometry, stroke: paint, "stroke-width": 1.6, ...(dash ? { "stroke-dasharray": "5 3" } : {}) }));
    };
    const label = (text, x, y, paint, group) => {
      // An estimate of half an em per character keeps labels inside the image.
      const left = Math.max(1, Math.min(x + 2, width - text.length * font * 0.5 - 2)), base = Math.max(font, Math.min(y, height - 2));
      group.append(hSvg("text", { x: left, y: base, fill: paint, stroke: "#000", "stroke-opacity": 0.8, "stroke-width": 2.6,
        "stroke-linejoin": "round", "paint-order": "stroke", "font-size": font, "font-weight": 650 }, text));
    };
    if (image && state.detections) {
      const group = hSvg("g", {});
      for (const detection of detectionsOf(image).filter((d) => d[4] >= state.minScore).reverse()) {
        const target = bestTarget(detection, row.sample.instances), paint = target < 0 ? "#fff" : colour(target);
        draw(detection, paint, false, group);
        label(`${shorten(detection[5], large ? 40 : 12)} ${detection[4].toFixed(2)}`, detection[0] * width, detection[3] * height - 3, paint, group);
      }
      svg.append(group);
    }
    if (state.targets) {
      const group = hSvg("g", {});
      row.sample.instances.forEach((instance, i) => {
        draw(instance.box, colour(i), true, group);
        label(String(i + 1), instance.box[0] * width, instance.box[1] * height + font, colour(i), group);
      });
      svg.append(group);
    }
    return svg;
  }
  function renderImage(row, column, width, large) {
    const [cw, ch] = row.sample.canvas;
    const height = Math.max(24, Math.min(Math.round((width * ch) / cw), width * 3));
    const number = thumbnailOf(row, column), image = imageOf(row, column);
    const frame = h("span", { class: "frame" });
    frame.style.width = `${width}px`;
    frame.style.height = `${height}px`;
    if (number === null) {
      const why = image && image.gone ? "image file not readable" : image ? STATUS_LABELS[image.t] || "no image" : "not requested";
      frame.classList.add("absent");
      frame.append(h("span", {}, why));
      if (image && image.gone) frame.append(renderBoxes(row, image, width, height, large));
      return frame;
    }
    const img = h("img", { alt: "", decoding: "async", width, height, src: data.thumbnails[number] });
    if (Math.max(...data.thumbnailSizes[number]) <= 128) img.className = "pixels";
    frame.append(img, renderBoxes(row, image, width, height, large));
    return frame;
  }
  function statusBadge(image) {
    return image && image.t ? h("span", { class: `badge ${image.t}` }, STATUS_LABELS[image.t] || image.t) : null;
  }
  /** Scores of an image: all, or the first `maxMetrics` and the one that orders the rows. */
  function scoreList(image, maxMetrics) {
    if (!image) return null;
    const list = h("dl", { class: "numbers" });
    data.metrics.forEach(([, title], k) => {
      const value = imageScore(image, k);
      if (value === null || (maxMetrics && k >= maxMetrics && k !== state.metric)) return;
      const chosen = state.sort !== "suite" && k === state.metric ? "chosen" : null;
      const text = typeof value === "number" ? fixed(value) : h("span", { class: "quiet", title: data.reasons[value[0]] }, "not scored");
      list.append(h("div", { class: chosen }, h("dt", {}, title), h("dd", {}, text)));
    });
    return list;
  }

  // ---- rows ----
  function sampleInfo(row) {
    const { sample } = row;
    const long = sample.prompt.length > 240;
    const prompt = h("p", { class: long ? "prompt clamp" : "prompt", dir: "auto" }, sample.prompt);
    const more = long && h("button", { type: "button", class: "link", "aria-expanded": "false", onclick: (event) => {
      const open = prompt.classList.toggle("clamp") === false;
      event.target.setAttribute("aria-expanded", String(open));
      event.target.textContent = open ? "show less" : "show full prompt";
    } }, "show full prompt");
    const strata = Object.entries(sample.strata).map(([key, value]) => `${key} ${value}`.replace(/[_\s]+/g, "\u00a0")).join(" · ");
    return h("div", { class: "about" },
      h("h3", {}, wrappedName(sample.id), data.seeds.length > 1 ? h("span", { class: "quiet" }, ` seed ${row.seed}`) : null),
      prompt, more,
      h("ol", { class: "phrases" }, sample.instances.map((instance, i) => {
        const mark = h("span", { class: "swatch", "aria-hidden": "true" }, String(i + 1));
        mark.style.backgroundColor = colour(i);
        const reference = instance.reference === null ? null
          : h("img", { class: "reference pixels", src: data.thumbnails[instance.reference], alt: "reference", width: 32, height: 32 });
        return h("li", {}, mark, reference, h("span", { dir: "auto" }, instance.phrase));
      })),
      strata && h("p", { class: "bins" }, strata));
  }
  /** ``2 merged, 3 missing``: targets that are not sound. */
  function failureList(row, image) {
    const failures = row.sample.instances.flatMap((_, i) => {
      const outcome = image ? targetOutcome(image, i) : -1;
      return outcome < 0 || data.outcomeNames[outcome] === SOUND ? [] : [`${i + 1} ${data.outcomeNames[outcome]}`];
    });
    return failures.length ? h("p", { class: "reason" }, failures.join(", ")) : null;
  }
  function imageCell(row, index) {
    const column = data.columns[index], image = imageOf(row, column);
    const isShown = thumbnailOf(row, column) !== null;
    const title = columnTitle(column);
    const reason = image && image.t ? data.reasons[image.r] : "";
    return h("figure", { class: `cell ${column.kind}` },
      h("figcaption", { title: column.name }, h("bdi", {}, title)),
      h("button", { type: "button", class: "image-button", "data-column": index, "aria-label": `Open ${title}, sample ${row.sample.id}`,
        onclick: () => openViewer(row, index) }, renderImage(row, column, state.size, false), isShown ? statusBadge(image) : null),
      reason && !isShown ? h("p", { class: "reason", dir: "auto", title: reason }, shorten(reason, 120)) : null,
      column.kind === "method" ? failureList(row, image) : null,
      scoreList(image, data.headlineCount));
  }
  let sharedScroll = 0; // All strips scroll together, so that columns stay aligned.
  const filledStrips = new Set();
  function fillRow(row) {
    const strip = h("div", { class: "strip", tabindex: "0", role: "group", "aria-label": `Images of sample ${row.sample.id}` },
      [...state.columns].sort((a, b) => a - b).map((index) => imageCell(row, index)));
    strip.addEventListener("scroll", () => {
      if (Math.abs(strip.scrollLeft - sharedScroll) < 1) return;
      sharedScroll = strip.scrollLeft;
      for (const other of filledStrips) if (other !== strip) other.scrollLeft = sharedScroll;
    }, { passive: true });
    row.shell.replaceChildren(sampleInfo(row), strip);
    row.shell.style.minHeight = "";
    row.strip = strip;
    filledStrips.add(strip);
    if (sharedScroll) strip.scrollLeft = sharedScroll; // set only if needed: it forces a layout
  }
  function emptyRow(row, height) {
    if (!row.strip) return;
    row.height = height || row.height;
    row.shell.style.minHeight = `${row.height}px`;
    filledStrips.delete(row.strip);
    row.strip = null;
    row.shell.replaceChildren();
  }
  const rowObserver = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const row = rows[Number(entry.target.dataset.row)];
      if (row.shell !== entry.target) continue; // its block has been closed since
      if (!entry.isIntersecting) { if (!row.shell.contains(document.activeElement)) emptyRow(row, entry.boundingClientRect.height); }
      else if (!row.strip) fillRow(row);
    }
  }, { root: document, rootMargin: `${DRAW_MARGIN}px 0px` });

  // ---- blocks of rows ----
  let blocks = [];
  function openBlock(block) {
    if (block.open) return;
    block.open = true;
    block.box.style.minHeight = "";
    block.box.replaceChildren(...block.rows.map(makeShell));
    for (const row of block.rows) rowObserver.observe(row.shell);
  }
  function closeBlock(block, height) {
    if (!block.open || blocks.length === 1 || block.box.contains(document.activeElement)) return;
    for (const row of block.rows) {
      rowObserver.unobserve(row.shell);
      emptyRow(row);
      row.shell = null;
    }
    block.open = false;
    block.box.style.minHeight = `${height}px`;
    block.box.replaceChildren();
  }
  const blockObserver = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const block = blocks[Number(entry.target.dataset.block)];
      if (!block || block.box !== entry.target) continue; // from before the last reordering
      if (entry.isIntersecting) openBlock(block); else closeBlock(block, entry.boundingClientRect.height);
    }
  }, { root: document, rootMargin: `${BLOCK_MARGIN}px 0px` });

  // ---- order and filter ----
  const visibleMethods = () => data.columns.filter((column, index) => column.kind === "method" && state.columns.has(index));
  function hasOutcome(row, image) {
    return image && row.sample.instances.some((_, i) => {
      const outcome = targetOutcome(image, i);
      return outcome >= 0 && (state.outcome === "any" ? data.outcomeNames[outcome] !== SOUND : outcome === Number(state.outcome));
    });
  }
  function matches(row) {
    const { sample } = row;
    if (state.seed !== "" && String(row.seed) !== state.seed) return false;
    if (state.category && !sample.instances.some((i) => i.category === state.category)) return false;
    if (state.count && String(sample.instances.length) !== state.count) return false;
    if (Object.entries(state.strata).some(([key, value]) => value && sample.strata[key] !== value)) return false;
    if (state.text && !searchText(row).includes(state.text)) return false;
    if (state.outcome !== "" && !visibleMethods().some((column) => hasOutcome(row, imageOf(row, column)))) return false;
    if (!state.status) return true;
    return [...state.columns].some((index) => {
      const image = imageOf(row, data.columns[index]);
      return image && (state.status === "any" ? image.t && data.columns[index].kind === "method" : image.t === state.status);
    });
  }
  function sortKey(row) {
    if (state.sort === "disagree") {
      const values = data.columns.flatMap((c, i) => (c.kind === "method" && state.columns.has(i) ? [numericScore(row, c, state.metric)] : []))
        .filter((x) => x !== null);
      return values.length < 2 ? null : Math.min(...values) - Math.max(...values);
    }
    const value = numericScore(row, data.columns[state.column], state.metric);
    const ascending = data.metrics[state.metric][2] === (state.sort === "worst");
    return value === null ? null : ascending ? value : -value;
  }
  let visibleRows = [];
  function updateRows() {
    visibleRows = rows.filter(matches);
    let unscored = 0;
    if (state.sort !== "suite" && data.metrics.length) {
      const keyed = visibleRows.map((row) => [row, sortKey(row)]);
      unscored = keyed.filter((k) => k[1] === null).length;
      // Rows without a score come last, in the order of the suite.
      keyed.sort((a, b) => (a[1] === null) - (b[1] === null) || (a[1] === null ? 0 : a[1] - b[1]));
      visibleRows = keyed.map((k) => k[0]);
    }
    rowObserver.disconnect();
    blockObserver.disconnect();
    filledStrips.clear();
    for (const block of blocks) for (const row of block.rows) row.shell = row.strip = null;
    // Close to the true heights, so that a jump past undrawn rows lands in the right place.
    const narrow = window.innerWidth <= 760;
    for (const row of visibleRows) row.height = state.size + 156 + (narrow ? 96 + 38 * row.sample.instances.length : 0);
    blocks = [];
    for (let from = 0; from < visibleRows.length; from += ROWS_PER_BLOCK) {
      const blockRows = visibleRows.slice(from, from + ROWS_PER_BLOCK), box = h("div", { "data-block": blocks.length });
      box.style.minHeight = `${blockRows.reduce((sum, row) => sum + row.height, 0)}px`;
      for (const row of blockRows) row.block = blocks.length;
      blocks.push({ box, rows: blockRows, open: false });
    }
    $("rows").replaceChildren(...blocks.map((block) => block.box));
    if (blocks.length) openBlock(blocks[0]);
    for (const block of blocks) blockObserver.observe(block.box);
    $("none").hidden = visibleRows.length > 0;
    const total = state.seed === "" ? rows.length : data.samples.length;
    $("tally").textContent = `${visibleRows.length.toLocaleString("en")} of ${total.toLocaleString("en")}` +
      (unscored ? `, ${unscored} without a score come last` : "");
  }
  rows.forEach((row, i) => { row.index = i; });
  function makeShell(row) {
    row.shell = h("article", { class: "row", "data-row": row.index, "aria-label": `Sample ${row.sample.id}` });
    row.shell.style.minHeight = `${row.height}px`;
    return row.shell;
  }
  function redrawRows() {
    const focusedRow = document.activeElement.closest(".row"), column = document.activeElement.dataset.column;
    for (const row of rows) if (row.strip) { filledStrips.delete(row.strip); fillRow(row); }
    // Keep the focus of a reader who steps through the rows by keys.
    if (focusedRow) (focusedRow.querySelector(`[data-column="${column}"]`) || focusedRow.querySelector(".strip")).focus({ preventScroll: true });
  }

  // ---- controls ----
  function selectField(label, options, value, change, attributes) {
    const box = h("select", attributes, options.map(([key, text]) => h("option", { value: key, selected: String(key) === String(value) }, text)));
    box.addEventListener("change", () => change(box.value));
    return h("label", { class: "field" }, h("span", {}, label), box);
  }
  function checkField(label, value, change, key) {
    const box = h("input", { type: "checkbox", checked: value, "aria-keyshortcuts": key });
    box.addEventListener("change", () => change(box.checked));
    return h("label", { class: "check" }, box, h("span", {}, label));
  }
  function renderControls() {
    const form = $("filters");
    const updateDisabled = () => {
      const column = form.querySelector("[name=column]"), metric = form.querySelector("[name=metric]");
      metric.disabled = state.sort === "suite";
      column.disabled = state.sort === "suite" || state.sort === "disagree";
    };
    const categories = [...new Set(data.samples.flatMap((s) => s.instances.map((i) => i.category)))].sort();
    const counts = [...new Set(data.samples.map((s) => s.instances.length))].sort((a, b) => a - b);
    const present = [...new Set(Object.values(data.images.more).flatMap((i) => (i.t ? [i.t] : [])))];
    const any = [["", "any"]];
    form.replaceChildren(
      h("div", { class: "fields" },
        data.metrics.length ? [
          selectField("Order", [["suite", "order of the suite"], ["worst", "worst first"], ["best", "best first"], ["disagree", "largest disagreement first"]],
            state.sort, (x) => { state.sort = x; updateDisabled(); updateRows(); }, { name: "sort" }),
          selectField("by metric", data.metrics.map((m, i) => [i, m[1]]), state.metric, (x) => { state.metric = Number(x); updateRows(); }, { name: "metric" }),
          selectField("of method", data.columns.flatMap((c, i) => (c.method === null ? [] : [[i, shorten(columnTitle(c), 40)]])), state.column,
            (x) => { state.column = Number(x); updateRows(); }, { name: "column" }),
        ] : []),
      h("div", { class: "fields" },
        selectField("Category", [...any, ...categories.map((c) => [c, c])], "", (x) => { state.category = x; updateRows(); }, { name: "category" }),
        "count" in data.strata ? null
          : selectField("Instances", [...any, ...counts.map((c) => [c, c])], "", (x) => { state.count = x; updateRows(); }, { name: "count" }),
        Object.entries(data.strata).map(([key, values]) => selectField(key.replaceAll("_", " "), [...any, ...values.map((x) => [x, x])], "",
          (x) => { state.strata[key] = x; updateRows(); }, { name: `stratum-${key}` })),
        present.length ? selectField("Image status", [...any, ["any", "not ok, any method"], ...present.map((p) => [p, STATUS_LABELS[p] || p])], "",
          (x) => { state.status = x; updateRows(); }, { name: "status" }) : null,
        data.outcomeNames.length ? selectField("Target outcome", [...any, ["any", "not sound"], ...data.outcomeNames.map((kind, i) => [i, kind])], "",
          (x) => { state.outcome = x; updateRows(); }, { name: "outcome" }) : null,
        data.seeds.length > 1 ? selectField("Seed", [...data.seeds.map((s) => [s, s]), ["", "all"]], state.seed,
          (x) => { state.seed = x; updateRows(); }, { name: "seed" }) : null,
        h("label", { class: "field search" }, h("span", {}, "Text"), h("input", { type: "search", name: "text", placeholder: "prompt or id", autocomplete: "off",
          oninput: (event) => { state.text = event.target.value.trim().toLowerCase(); updateRows(); } })),
        h("button", { type: "reset" }, "Reset")));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => {
      Object.assign(state, { sort: "suite", category: "", count: "", status: "", outcome: "", text: "", strata: {} });
      renderControls();
      updateRows();
    }, { once: true });
    if (data.metrics.length) updateDisabled();
  }
  $("columns").append(...data.columns.map((column, index) => checkField(columnTitle(column), state.columns.has(index), (on) => {
    if (on) state.columns.add(index); else state.columns.delete(index);
    updateRows();
  })));
  $("display").append(
    selectField("Image size", [[120, "small"], [160, "medium"], [240, "large"], [320, "largest"]], state.size, (x) => { state.size = Number(x); updateRows(); }, { name: "size" }),
    selectField("Detections from score", [["0.25", "0.25"], ["0.5", "0.50"], ["0.75", "0.75"], ["0.9", "0.90"]], "0.25", (x) => { state.minScore = Number(x); redrawRows(); }, { name: "min-score" }));
  $("bar").append(
    h("output", { id: "tally", "aria-live": "polite" }),
    h("span", { class: "group" },
      checkField("targets", true, (on) => { state.targets = on; redrawRows(); }, "t"),
      checkField("detections", true, (on) => { state.detections = on; redrawRows(); }, "d")));

  // ---- one image, large ----
  const viewer = $("viewer");
  let viewed = null; // [row, column index]
  function openViewer(row, index) {
    const column = data.columns[index], image = imageOf(row, column);
    viewed = [row, index];
    const width = Math.max(200, Math.min(512, window.innerWidth - 58, ((window.innerHeight - 200) * row.sample.canvas[0]) / row.sample.canvas[1]));
    const metrics = data.metrics.map((m, k) => [m, k]);
    const usedMetrics = image ? metrics.filter(([, k]) => row.sample.instances.some((_, i) => targetScore(image, i, k) !== null)) : [];
    const formatScore = (x) => (typeof x === "number" ? fixed(x) : x === null || x === undefined ? "\u2013" : `not scored: ${data.reasons[x[0]]}`);
    const step = (label, down, across) => h("button", { type: "button", "aria-label": label, title: label, onclick: () => moveViewer(down, across) },
      { "-1,0": "\u2191", "1,0": "\u2193", "0,-1": "\u2190", "0,1": "\u2192" }[`${down},${across}`]);
    viewer.replaceChildren(
      h("div", { class: "viewer-head" },
        h("h3", { id: "viewer-title" }, wrappedName(columnTitle(column)), h("span", { class: "quiet" }, " ", wrappedName(row.sample.id), ` seed ${row.seed}`)),
        h("span", { class: "group" }, step("previous sample", -1, 0), step("next sample", 1, 0), step("previous column", 0, -1), step("next column", 0, 1),
          h("button", { type: "button", onclick: () => viewer.close() }, "Close"))),
      h("div", { class: "viewer-body" },
        h("div", {}, renderImage(row, column, Math.round(width), true), h("p", {}, statusBadge(image), " ", image && fullSizeUrl(image) ? h("a", { href: fullSizeUrl(image), target: "_blank", rel: "noopener" }, "full-size file") : null)),
        h("div", { class: "viewer-facts" },
          image && image.t ? h("p", { class: "reason", dir: "auto" }, data.reasons[image.r]) : null,
          h("p", { class: "prompt", dir: "auto" }, row.sample.prompt),
          scoreList(image, 0),
          h("h4", {}, "Targets"),
          h("ol", { class: "phrases" }, row.sample.instances.map((instance, i) => {
            const mark = h("span", { class: "swatch", "aria-hidden": "true" }, String(i + 1));
            mark.style.backgroundColor = colour(i);
            const outcome = image ? targetOutcome(image, i) : -1;
            return h("li", {}, mark, h("span", {}, h("span", { dir: "auto" }, instance.phrase),
              outcome < 0 ? null : h("b", {}, ` ${data.outcomeNames[outcome]}`),
              usedMetrics.length ? h("span", { class: "quiet" }, ` ${usedMetrics.map(([m, k]) => `${m[1]} ${formatScore(targetScore(image, i, k))}`).join(", ")}`) : null));
          })),
          image && image.d ? [h("h4", {}, "Detections"), h("p", { class: "quiet" }, detectionsOf(image).map((d) => `${d[5]} ${d[4].toFixed(2)}`).join(", "))] : null,
          image && image.n ? [h("h4", {}, "Notes"), h("ul", {}, image.n.map((n) => h("li", { dir: "auto" }, n)))] : null)));
    if (!viewer.open) viewer.showModal();
  }
  function moveViewer(down, across) {
    const columns = [...state.columns].sort((a, b) => a - b);
    const row = visibleRows[visibleRows.indexOf(viewed[0]) + down], column = columns[columns.indexOf(viewed[1]) + across];
    if (row && column !== undefined) openViewer(row, column);
  }
  viewer.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (step) { event.preventDefault(); moveViewer(...step); }
  });
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });

  // ---- keys outside fields and the large view: j and k step, Enter opens, t and d toggle boxes ----
  document.addEventListener("keydown", (event) => {
    if (viewer.open || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    const toggle = document.querySelector(`#bar [aria-keyshortcuts="${CSS.escape(event.key)}"]`);
    if (toggle) { toggle.click(); return; }
    const step = { j: 1, k: -1 }[event.key];
    if (!step || !visibleRows.length) return;
    const focusedRow = event.target.closest(".row"), index = focusedRow ? visibleRows.indexOf(rows[Number(focusedRow.dataset.row)]) : -1;
    const row = visibleRows[Math.max(0, Math.min(visibleRows.length - 1, index + step))];
    openBlock(blocks[row.block]);
    if (!row.strip) fillRow(row);
    row.shell.scrollIntoView({ block: "start" });
    (row.shell.querySelector(".image-button") || row.strip).focus({ preventScroll: true });
  });

  // ---- print: the filtered rows in their order, up to MAX_PRINTED_ROWS ----
  let closedDetails = [];
  window.addEventListener("beforeprint", () => {
    closedDetails = [...document.querySelectorAll("header details, main > section details")].filter((d) => !d.open && !d.classList.contains("panel"));
    for (const details of closedDetails) details.open = true;
    blocks.forEach((block, i) => { if (i * ROWS_PER_BLOCK < MAX_PRINTED_ROWS) openBlock(block); else block.box.hidden = true; });
    visibleRows.forEach((row, i) => { if (i < MAX_PRINTED_ROWS && !row.strip) fillRow(row); });
    if (visibleRows.length > MAX_PRINTED_ROWS) $("rows").append(h("p", { id: "printed" }, `The first ${MAX_PRINTED_ROWS} of ${visibleRows.length} rows are printed.`));
  });
  window.addEventListener("afterprint", () => {
    for (const details of closedDetails) details.open = false;
    closedDetails = [];
    for (const block of blocks) block.box.hidden = false;
    if ($("printed")) $("printed").remove();
  });

  $("explorer").hidden = false;
  for (const panel of document.querySelectorAll("details.panel")) panel.open = window.innerWidth > 900;
  renderControls();
  updateRows();
})();
