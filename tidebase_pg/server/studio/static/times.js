// Distances of time go on while the page is open; the words are those of the server.
const units = [["d", 86400, "h", 3600], ["h", 3600, "min", 60], ["min", 60, "s", 1]];

function words(seconds) {
  const size = Math.round(Math.abs(seconds));
  if (size < 1) return "just now";
  let text = `${size} s`;
  for (const [unit, scale] of units) {
    if (size >= scale) { text = `${Math.floor(size / scale)} ${unit}`; break; }
  }
  return seconds > 0 ? `${text} ago` : `in ${text}`;
}

export function tick(root = document) {
  for (const time of root.querySelectorAll("time[data-ago]")) {
    const said = words((Date.now() - Date.parse(time.dateTime)) / 1000);
    if (time.textContent !== said) time.textContent = said;
  }
}

export function ticking() {
  const skew = Date.parse(document.querySelector("time[data-ago]")?.dateTime ?? "");
  if (Number.isNaN(skew)) return;
  setInterval(() => { if (!document.hidden) tick(); }, 5000);
}
