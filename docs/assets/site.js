// Names for what the theme leaves without one, also for what it adds later.
function name() {
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
  for (const button of document.querySelectorAll(".md-version__current")) {
    const label = `Version ${button.textContent.trim()}`;
    if (button.getAttribute("aria-label") !== label) button.setAttribute("aria-label", label);
  }
  document.querySelectorAll(".md-code__nav").forEach((nav, number) => {
    const label = `Code ${number + 1}`;
    if (nav.getAttribute("aria-label") !== label) nav.setAttribute("aria-label", label);
  });
}
name();
new MutationObserver(name).observe(document.body, { childList: true, subtree: true });
