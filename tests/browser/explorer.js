// Helpers for the sample explorer: set a control, list rows and options, press a key.
const set = (name, value) => {
  const control = document.querySelector(`[name="${name}"]`);
  control.value = String(value);
  if (control.value !== String(value)) throw new Error(`${name} has no option ${value}`);
  control.dispatchEvent(new Event(control.tagName === "SELECT" ? "change" : "input"));
};
const rows = () => $$("#rows .row").map((row) => row.getAttribute("aria-label"));
const options = (name) => $$(`[name="${name}"] option`).map((o) => [o.value, o.textContent]);
const press = (key, target) => (target || document.activeElement || document.body).dispatchEvent(
  new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
