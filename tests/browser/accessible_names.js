// Elements that a screen reader could not name or place.
const nameless = $$("button, select, input, textarea, a[href], [role=img], [role=region], [role=group], dialog, summary, form").filter((el) => {
  const labelId = el.getAttribute("aria-labelledby");
  const name = el.getAttribute("aria-label") || (labelId && document.getElementById(labelId)?.textContent)
    || (el.labels && [...el.labels].map((l) => l.textContent).join("")) || el.textContent || el.getAttribute("title");
  return !(name || "").trim() && !(el.tagName === "DIALOG" && !el.open);
}).map((el) => el.outerHTML.slice(0, 120));
const withoutAlt = $$("img:not([alt])").length;
const ids = $$("[id]").map((el) => el.id);
const headingLevels = $$("h1, h2, h3, h4").filter((h) => !h.closest("dialog")).map((h) => Number(h.tagName[1]));
const unreachableScrollers = $$("*").filter((el) => el !== document.documentElement && el.scrollWidth > el.clientWidth + 1
  && ["auto", "scroll"].includes(getComputedStyle(el).overflowX) && el.tabIndex < 0 && !el.querySelector("button, a, input")).map((el) => el.outerHTML.slice(0, 80));
const tablesWithoutHeads = $$("table").filter((t) => !t.querySelector("th[scope=col]") || $$("tbody tr", t).some((r) => !r.querySelector("th"))).length;
