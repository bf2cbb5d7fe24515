// What pages do by themselves. Clicks on anything with data-pick reach Python through the component around it.
() => {
  const editing = (target) => target.closest("input, textarea, select, [contenteditable=true]");
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || editing(event.target)) return;
    const queue = document.querySelector(".queue");
    if (!queue || !queue.offsetParent) return;
    const button = { k: "queue-keep", d: "queue-drop", s: "queue-skip", u: "queue-undo" }[event.key.toLowerCase()];
    if (!button) return;
    event.preventDefault();
    const found = document.getElementById(button);
    if (found) (found.matches("button") ? found : found.querySelector("button")).click();
  });
}
