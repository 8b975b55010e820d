// g and a letter goes to a page, j and k move between rows, x ticks one, Enter opens it.
export function keyboard() {
  const help = document.getElementById("help");
  const button = document.querySelector("[data-help]");
  if (button && help) { button.hidden = false; button.addEventListener("click", () => help.showModal()); }
  let going = 0;

  document.addEventListener("keydown", (event) => {
    if (event.metaKey || event.ctrlKey || event.altKey) return;
    if (event.key === "Escape") {
      for (const open of document.querySelectorAll("details.act[open]")) { open.open = false; open.querySelector("summary").focus(); }
      return;
    }
    if (event.target.matches("input:not([type=checkbox], [type=radio]), textarea, select") || help?.open) return;
    if (going) {
      going = 0;
      const link = document.querySelector(`[data-go="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); link.click(); }
      return;
    }
    switch (event.key) {
      case "g": going = setTimeout(() => { going = 0; }, 1200); break;
      case "/": { const box = document.querySelector('[data-key="/"]'); if (box) { event.preventDefault(); box.focus(); } break; }
      case "?": help?.showModal(); break;
      case "j": move(1); break;
      case "k": move(-1); break;
      case "x": document.querySelector("tr.here input[name=run]")?.click(); break;
      case "Enter": if (!event.target.closest("a, button, summary")) document.querySelector("tr.here a")?.click(); break;
    }
  });

  document.addEventListener("click", (event) => {
    for (const open of document.querySelectorAll("details.act[open]")) if (!open.contains(event.target)) open.open = false;
  });
}

function move(by) {
  const rows = [...document.querySelectorAll("tr[data-row]")];
  if (!rows.length) return;
  const at = rows.findIndex((row) => row.classList.contains("here"));
  const next = rows[Math.min(Math.max(at + by, 0), rows.length - 1)];
  rows[at]?.classList.remove("here");
  next.classList.add("here");
  next.scrollIntoView({ block: "nearest" });
  next.querySelector("a")?.focus({ preventScroll: true });
}
