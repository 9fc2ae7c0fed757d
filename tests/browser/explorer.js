// Choices, rows and keys of the explorer.
const set = (name, value) => {
  const box = document.querySelector(`[name="${name}"]`);
  box.value = String(value);
  if (box.value !== String(value)) throw new Error(`no choice ${value} of ${name}`);
  box.dispatchEvent(new Event(box.tagName === "SELECT" ? "change" : "input"));
};
const rows = () => $$("#rows .row").map((row) => row.getAttribute("aria-label"));
const choices = (name) => $$(`[name="${name}"] option`).map((o) => [o.value, o.textContent]);
const press = (key, at) => (at || document.activeElement || document.body).dispatchEvent(
  new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
