// Elements that stick out of the window to the right.
const tooWide = $$("body *").filter((el) => el.getBoundingClientRect().right > innerWidth + 1
  && !el.closest(".scroll, .strip, .hidden, .skip, pre, svg")).map((el) => [el.tagName, String(el.className), Math.round(el.getBoundingClientRect().right)]);
