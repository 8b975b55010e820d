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

// Search takes each word for the beginning of one, so that the "a" of a question finds everything:
// the small words of questions are left out of what is asked.
const SMALL = new Set(
  ("a all am an and any are as at be by can do does each for from happens have how i if in is it its me my of on " +
    "or our should that the there they this to was we what when where which who why will with you your").split(" "),
);
const QUERY = 2; // what the theme calls a question to its worker
const post = Worker.prototype.postMessage;
Worker.prototype.postMessage = function (message, ...others) {
  if (message?.type === QUERY && typeof message.data === "string") {
    const words = message.data.split(/\s+/).filter((word) => !SMALL.has(word.toLowerCase()));
    if (words.length) message = { ...message, data: words.join(" ") };
  }
  return post.call(this, message, ...others);
};
