const nameless = $$("button, select, input, textarea, a[href], [role=img], [role=region], [role=group], dialog, summary, form").filter((el) => {
  const by = el.getAttribute("aria-labelledby");
  const words = el.getAttribute("aria-label") || (by && document.getElementById(by)?.textContent)
    || (el.labels && [...el.labels].map((l) => l.textContent).join("")) || el.textContent || el.getAttribute("title");
  return !(words || "").trim() && !(el.tagName === "DIALOG" && !el.open);
}).map((el) => el.outerHTML.slice(0, 120));
const noAlt = $$("img:not([alt])").length;
const ids = $$("[id]").map((el) => el.id);
const headings = $$("h1, h2, h3, h4").filter((h) => !h.closest("dialog")).map((h) => Number(h.tagName[1]));
const scrollers = $$("*").filter((el) => el !== document.documentElement && el.scrollWidth > el.clientWidth + 1
  && ["auto", "scroll"].includes(getComputedStyle(el).overflowX) && el.tabIndex < 0 && !el.querySelector("button, a, input")).map((el) => el.outerHTML.slice(0, 80));
const headless = $$("table").filter((t) => !t.querySelector("th[scope=col]") || $$("tbody tr", t).some((r) => !r.querySelector("th"))).length;
