// Follows what the server tells: at each word the page is loaded again and its parts that differ are
// put in place. What somebody has open, chosen or is typing into stays.
import { tick } from "./times.js";
import { grown, heard } from "./streams.js";

const PAUSE = 900; // between two loads of a page, at least

export function follow(renew) {
  const place = document.body.dataset.stream;
  const sign = document.querySelector("[data-live-state]");
  if (!place || !window.EventSource) return;
  let source = null, timer = 0, loading = false, again = false, last = 0, told = "0";

  const say = (state, text) => {
    if (!sign || sign.dataset.liveState === state) return;
    sign.dataset.liveState = state;
    sign.querySelector("span").textContent = text;
  };

  const load = async () => {
    timer = 0;
    if (loading) { again = true; return; }
    loading = true; last = Date.now();
    try {
      const answer = await fetch(location.href, { headers: { "x-studio-part": told }, redirect: "error", cache: "no-store" });
      if (answer.status === 401) { location.reload(); return; }
      if (answer.ok) replace(new DOMParser().parseFromString(await answer.text(), "text/html"), renew);
    } catch { /* the stream says whether the server is there */ }
    loading = false;
    if (again) { again = false; plan(); }
  };
  const plan = () => { if (!timer) timer = setTimeout(load, Math.max(60, PAUSE - (Date.now() - last))); };

  const open = () => {
    if (source) return;
    source = new EventSource(place);
    let first = true;
    source.onopen = () => { say("on", "live"); if (!first) plan(); first = false; };
    source.addEventListener("look", (event) => { told = event.lastEventId || event.data; plan(); });
    for (const kind of ["written", "chunk", "restart"]) {
      source.addEventListener(kind, (event) => {
        const facts = JSON.parse(event.data);
        if (!heard(kind, facts)) { told = `${facts.stream}${facts.position}`.replace(/[^ -~]/g, "").slice(-60); plan(); }
      });
    }
    source.onerror = () => {
      say("lost", "connection lost, trying again");
      if (source && source.readyState === EventSource.CLOSED) { close(); setTimeout(() => { if (!document.hidden) open(); }, 3000); }
    };
  };
  const close = () => { source?.close(); source = null; };

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { close(); say("off", "paused"); } else { open(); plan(); }
  });
  addEventListener("pagehide", close);
  open();
}

function replace(page, renew) {
  for (const part of document.querySelectorAll("[data-part]")) {
    const fresh = page.getElementById(part.id);
    if (!fresh) continue;
    if ("grows" in part.dataset) { grown(part, fresh, renew); continue; }
    if (busy(part)) continue;
    const ticked = new Set([...part.querySelectorAll("input[name=run]:checked")].map((box) => box.value));
    const opened = new Set([...part.querySelectorAll("details[open]")].map(name));
    const here = part.querySelector("tr.here")?.id;
    const places = [...part.querySelectorAll("pre")].map((pre) => pre.scrollTop);
    for (const box of fresh.querySelectorAll("input[name=run]")) if (ticked.has(box.value)) box.setAttribute("checked", "");
    for (const one of fresh.querySelectorAll("details")) if (opened.has(name(one))) one.open = true;
    if (here) fresh.querySelector(`#${CSS.escape(here)}`)?.classList.add("here");
    tick(fresh);
    if (same(part, fresh)) continue;
    const focus = part.contains(document.activeElement) ? route(part, document.activeElement) : null;
    part.replaceChildren(...fresh.childNodes);
    part.className = fresh.className;
    part.querySelectorAll("pre").forEach((pre, at) => { if (places[at]) pre.scrollTop = places[at]; });
    renew(part);
    if (focus) walk(part, focus)?.focus({ preventScroll: true });
  }
  if (page.title && document.title !== page.title) document.title = page.title;
}

// A part somebody has a form open in, or text selected in, waits until he is done.
function busy(part) {
  const active = document.activeElement;
  if (part.contains(active) && active.matches("input:not([type=checkbox], [type=radio]), textarea, select")) return true;
  if (part.querySelector("details.act[open]")) return true;
  const selection = getSelection();
  return Boolean(selection && !selection.isCollapsed && part.contains(selection.anchorNode));
}

const name = (details) => details.querySelector("summary")?.textContent ?? "";
const same = (one, other) => text(one) === text(other);
const text = (node) => node.innerHTML.replace(/ hidden=""/g, "").replace(/<time[^>]*>[^<]*<\/time>/g, (time) => time.replace(/>[^<]*</, "><"));

function route(root, node) {
  const steps = [];
  for (let at = node; at && at !== root; at = at.parentElement) steps.unshift([...at.parentElement.children].indexOf(at));
  return steps;
}
const walk = (root, steps) => steps.reduce((at, step) => at?.children[step], root);
