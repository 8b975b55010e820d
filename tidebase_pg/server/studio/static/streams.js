// What a run writes to its streams grows where it stands. Positions say whether something was missed;
// then the page is loaded again, and what came meanwhile follows.
const LETTERS = 20000; // of a stream, at most; its beginning goes
const early = new Map(); // by stream: what came before its place was there
const missed = new Set(); // streams that are further on the server

const place = (stream) => [...document.querySelectorAll("[data-stream-of]")].find((one) => one.dataset.streamOf === stream);

// Whether the page is as far as the server says; else it has to be loaded again.
export function heard(kind, facts) {
  const section = place(facts.stream);
  if (kind === "written") {
    if (section && Number(section.dataset.position) >= facts.position) return true;
    missed.add(facts.stream);
    return false;
  }
  if (section && taken(section, kind, facts)) return true;
  missed.add(facts.stream);
  const waiting = early.get(facts.stream) ?? [];
  waiting.push([kind, facts]);
  early.set(facts.stream, waiting.slice(-200));
  return false;
}

function taken(section, kind, facts) {
  const known = Number(section.dataset.position);
  if (facts.position <= known) return true;
  if (facts.begins > known + 1) return false;
  const pre = section.querySelector("pre");
  const below = pre.scrollHeight - pre.scrollTop - pre.clientHeight < 24;
  const step = facts.step ?? "";
  const piece = document.createElement("span");
  if (kind === "restart") {
    for (const old of pre.querySelectorAll("span[data-step]")) if (old.dataset.step === step) old.classList.add("void");
    piece.className = "again";
    piece.textContent = facts.text;
    pre.append(piece);
  } else {
    const last = pre.lastElementChild;
    if (last && last.dataset.step === step && !last.classList.contains("void")) last.append(facts.text);
    else { piece.dataset.step = step; piece.textContent = facts.text; pre.append(piece); }
  }
  section.dataset.position = facts.position;
  trim(section, pre);
  if (below) pre.scrollTop = pre.scrollHeight;
  return true;
}

function trim(section, pre) {
  let over = pre.textContent.length - LETTERS;
  if (over > 0) section.querySelector("[data-cut]").hidden = false;
  while (over > 0 && pre.firstElementChild) {
    const first = pre.firstElementChild, long = first.textContent.length;
    if (long <= over) first.remove(); else first.textContent = first.textContent.slice(over);
    over -= long;
  }
}

// Streams that are new, or of which something was missed, are put in place. Others stay, with what
// is void in them: the server shows that no more.
export function grown(part, fresh, renew) {
  for (const one of [...fresh.children]) {
    const old = document.getElementById(one.id);
    const stream = one.dataset.streamOf;
    if (old && (!missed.has(stream) || Number(old.dataset.position) >= Number(one.dataset.position))) continue;
    missed.delete(stream);
    if (old) old.replaceWith(one); else part.append(one);
    renew(one);
    bottom(one);
    for (const [kind, facts] of early.get(stream) ?? []) taken(one, kind, facts);
    early.delete(stream);
  }
}

const bottom = (section) => { for (const pre of section.querySelectorAll("pre")) pre.scrollTop = pre.scrollHeight; };
for (const section of document.querySelectorAll("[data-stream-of]")) bottom(section);
