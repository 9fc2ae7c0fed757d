// Parts of names, split after _ and -, before @ and at spaces, that are broken over several lines.
const brokenParts = (path) => $$(path).flatMap((name) => {
  const texts = document.createTreeWalker(name, NodeFilter.SHOW_TEXT), broken = [];
  while (texts.nextNode()) {
    for (const part of texts.currentNode.data.matchAll(/@?[^_@\s-]+[_-]*/g)) {
      const range = document.createRange();
      range.setStart(texts.currentNode, part.index);
      range.setEnd(texts.currentNode, part.index + part[0].length);
      const lines = new Set([...range.getClientRects()].map((r) => Math.round(r.top)));
      if (lines.size > 1) broken.push([part[0], name.textContent, name.closest("table, ul, p")?.className]);
    }
  }
  return broken;
});
