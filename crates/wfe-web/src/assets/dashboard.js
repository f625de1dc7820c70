// What the pages do beyond links and forms: keys, marks, live updates that pause, times of the viewer's zone. Every page works without.
(() => {
  const $ = (selector, of = document) => of.querySelector(selector), $$ = (selector, of = document) => [...of.querySelectorAll(selector)];

  // ---- times: relative ones go on, absolute ones are of the viewer's zone, or of UTC if that was chosen
  let utc = false;
  try { utc = localStorage.getItem("wfe-utc") === "1"; } catch { /* storage is off: the choice lasts for this page */ }
  const span = (ms) => {
    const s = Math.floor(Math.abs(ms) / 1000);
    return s < 60 ? `${s} s` : s < 3600 ? `${Math.floor(s / 60)} min` : s < 172800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} d`;
  };
  const foot = $(".foot"), offset = Date.parse(foot.dataset.now) - Date.now();
  const format = () => new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium", timeZone: utc ? "UTC" : undefined });
  const zone = () => (utc ? "UTC" : Intl.DateTimeFormat().resolvedOptions().timeZone);
  const times = () => {
    const now = Date.now() + offset, form = format(), name = zone();
    for (const time of $$("time[datetime]")) {
      const at = Date.parse(time.dateTime), text = time.dataset.kind === "at" ? form.format(at) : at > now ? `in ${span(at - now)}` : time.dataset.kind === "ago" ? `${span(now - at)} ago` : span(now - at);
      if (time.textContent !== text) time.textContent = text;
      time.title = `${form.format(at)} ${name}`;
    }
  };
  const tellZone = () => {
    if (!utc && zone() === "UTC") return;
    const line = $("#zone"), button = document.createElement("button");
    button.type = "button";
    button.className = "b bare tiny";
    button.textContent = utc ? "show mine" : "show UTC";
    button.addEventListener("click", () => {
      utc = !utc;
      try { localStorage.setItem("wfe-utc", utc ? "1" : "0"); } catch { /* as above */ }
      tellZone();
      times();
    });
    line.replaceChildren(`Times of ${zone()} `, button);
  };
  tellZone();
  times();
  setInterval(times, 1000);

  // ---- live: a line says how it stands; paused, nothing is changed until it goes on
  const line = $("#live"), main = $("#main");
  let paused = false, changed = Date.now(), connected = false, missed = false;
  const tell = (text) => { if (line && line.textContent !== text) line.textContent = text; };
  const pauseButton = () => {
    const button = $("#pause");
    if (!button) return;
    button.hidden = false;
    button.setAttribute("aria-pressed", paused);
    button.lastChild.textContent = paused ? "Go on" : "Pause";
  };
  const pause = () => {
    if (!$("#pause")) return;
    paused = !paused;
    if (!paused && missed) { location.reload(); return; }
    tell(paused ? "Paused: this page stays as it is." : "Live.");
    pauseButton();
  };
  document.addEventListener("click", (event) => { if (event.target.closest("#pause")) pause(); });
  document.addEventListener("htmx:sse:after:connection", () => { connected = true; tell("Live."); });
  document.addEventListener("htmx:sse:before:message", (event) => { if (paused) { missed = true; event.preventDefault(); } });
  document.addEventListener("htmx:sse:after:message", () => { changed = Date.now(); times(); pauseButton(); marks(); tell("Live. Changed just now."); });
  for (const name of ["htmx:sse:error", "htmx:sse:close"]) {
    document.addEventListener(name, () => {
      if (connected && !paused) tell(`Not live since ${format().format(Date.now())}: the connection is lost, and is tried again.`);
      connected = false;
    });
  }
  pauseButton();

  // ---- marks: the box in the head marks all rows, and the bar says how many
  const boxes = () => $$('tbody input[type="checkbox"][name="id"]');
  const marks = () => {
    const all = boxes(), marked = all.filter((box) => box.checked).length, head = $("#mark-all"), says = $("#marked");
    for (const box of all) box.closest("tr").classList.toggle("on", box.checked);
    if (head) { head.checked = marked > 0 && marked === all.length; head.indeterminate = marked > 0 && marked < all.length; }
    if (says) says.textContent = `${marked} marked.`;
  };
  document.addEventListener("change", (event) => {
    if (event.target.id === "mark-all") for (const box of boxes()) box.checked = event.target.checked;
    if (event.target.matches('#mark-all, input[name="id"]')) marks();
    if (event.target.matches("select[data-send]")) event.target.form.requestSubmit();
  });
  marks();

  // ---- copy: the whole id
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const done = () => tell("Copied.");
    if (navigator.clipboard) navigator.clipboard.writeText(button.dataset.copy).then(done, () => {});
    else {
      const area = document.createElement("textarea");
      area.value = button.dataset.copy;
      document.body.append(area);
      area.select();
      if (document.execCommand("copy")) done();
      area.remove();
    }
  });

  // ---- keys
  let go = false, at = -1;
  const rows = () => $$("main tbody tr").filter((row) => $("a[href], input[name=id]", row));
  const move = (by) => {
    const all = rows();
    if (!all.length) return;
    at = Math.max(0, Math.min(all.length - 1, at + by));
    ($("th a[href], a[href]", all[at]) || $("input", all[at])).focus();
  };
  document.addEventListener("focusin", (event) => {
    const row = event.target.closest("main tbody tr");
    if (row) at = rows().indexOf(row);
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input:not([type=checkbox]), select, textarea")) { if (event.key === "Escape") event.target.blur(); return; }
    const key = event.key;
    if (go) {
      go = false;
      const link = $$(".nav a").find((nav) => nav.dataset.key === key);
      if (link) { event.preventDefault(); link.click(); }
      return;
    }
    const press = (selector) => { const found = $(selector); if (found) { event.preventDefault(); found.click(); } };
    if (key === "g") go = true;
    else if (key === "/") { event.preventDefault(); ($("#filter") || $("#q")).focus(); }
    else if (key === "j" || key === "k") { event.preventDefault(); move(key === "j" ? 1 : -1); }
    else if (key === "x") { const box = rows()[at] && $("input[name=id]", rows()[at]); if (box) { box.checked = !box.checked; marks(); } }
    else if (key === "r") press('main button[name="do"][value="resume"]');
    else if (key === "p") pause();
    else if (key === "?") { event.preventDefault(); const keys = $("#keys"); keys.open = !keys.open; if (keys.open) keys.scrollIntoView(); }
  });
})();
