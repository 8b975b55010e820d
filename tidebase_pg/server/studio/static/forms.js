// Copies, chooses what is typed into, checks JSON while it is typed, keeps a form from going twice, lets a long act go on.
export function forms(root) {
  for (const button of root.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const doc = button.closest(".doc");
      let text = button.dataset.copy || doc?.querySelector("pre")?.textContent || "";
      try {
        if (!text) text = await (await fetch(doc.querySelector("a[download]").href)).text();
        await navigator.clipboard.writeText(text); button.textContent = "Copied";
      } catch { button.textContent = "Not copied"; }
      setTimeout(() => { button.textContent = "Copy"; }, 1600);
    });
  }
  for (const area of root.querySelectorAll("textarea[data-json-check]")) checked(area);
  for (const form of root.querySelectorAll("form[method=post]")) {
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent) { event.preventDefault(); return; }
      form.dataset.sent = "1";
      setTimeout(() => { for (const button of form.querySelectorAll("button")) button.disabled = true; }, 0);
    });
  }
  const all = root.querySelector("[data-all]");
  if (all) {
    all.hidden = false;
    all.addEventListener("change", () => { for (const box of document.querySelectorAll("input[name=run]")) box.checked = all.checked; });
  }
  for (const box of root.querySelectorAll("[data-chooses]")) {
    box.addEventListener("input", () => { box.form.querySelector(`[value="${box.dataset.chooses}"]`).checked = true; });
  }
  for (const form of root.querySelectorAll("[data-cron]")) preview(form);
  for (const form of root.querySelectorAll("[data-goes-on]")) goOn(form);
}

addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    for (const button of form.querySelectorAll("button")) button.disabled = false;
  }
});

function checked(area) {
  const said = document.createElement("p");
  said.className = "json-said";
  said.setAttribute("aria-live", "polite");
  area.after(said);
  const check = () => {
    let wrong = "";
    if (area.value.trim()) try { JSON.parse(area.value); } catch (error) { wrong = error.message; }
    area.classList.toggle("wrong", Boolean(wrong));
    area.setCustomValidity(wrong && "This is no JSON");
    said.textContent = wrong;
  };
  area.addEventListener("input", check);
}

function preview(form) {
  const place = form.querySelector(".preview");
  let timer = 0;
  const show = async () => {
    const query = new URLSearchParams({ cron: form.cron.value, zone: form.time_zone.value });
    try {
      const answer = await fetch(`${form.dataset.cron}?${query}`);
      const found = await answer.json();
      place.textContent = found.wrong ?? `${found.words}\n${found.fires.slice(0, 5).join("\n")}`;
    } catch { place.textContent = ""; }
  };
  form.addEventListener("input", (event) => {
    if (event.target !== form.cron && event.target !== form.time_zone) return;
    clearTimeout(timer);
    timer = setTimeout(show, 250);
  });
}

function goOn(form) {
  const stop = form.querySelector("[data-stop]");
  const timer = setTimeout(() => form.requestSubmit(), 400);
  if (stop) { stop.hidden = false; stop.addEventListener("click", () => { clearTimeout(timer); stop.hidden = true; }); }
}
