// What the dashboard does in the browser alone: times in the viewer's zone, copying, the keyboard and
// the command palette. Reflex renders everything else.
(() => {
  "use strict";
  const isMac = /Mac|iPhone|iPad/.test(navigator.platform);
  const $ = (selector, root = document) => root.querySelector(selector);
  const press = (selector) => { const found = $(selector); if (found) found.click(); return Boolean(found); };
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const format = (options) => new Intl.DateTimeFormat("en-GB", options);
  const clock = { hour: "2-digit", minute: "2-digit", second: "2-digit" };
  const formats = {
    clock: format(clock),
    millis: format({ ...clock, fractionalSecondDigits: 3 }),
    short: format({ hour: "2-digit", minute: "2-digit" }),
    stamp: format({ weekday: "short", day: "numeric", month: "short", ...clock }),
    minute: format({ weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" }),
    day: format({ day: "numeric", month: "short" }),
    date: format({ day: "numeric", month: "short", year: "numeric" }),
    exact: format({ dateStyle: "full", timeStyle: "long" }),
  };

  // What our elements show stands in their shadow: React, which owns their light side, finds it empty as it left it.
  const show = (element, text, title = "") => {
    const root = element.shadowRoot || element.attachShadow({ mode: "open" });
    let inner = root.firstChild;
    if (!inner) { inner = document.createElement("span"); root.append(inner); }
    inner.textContent = text;
    inner.title = title;
  };

  // ---------- times ----------
  try {
    localStorage.setItem("mjs_utc_offset", String(-new Date().getTimezoneOffset()));
    localStorage.setItem("mjs_origin", location.origin);
  } catch { /* storage is off: charts are in UTC, examples name the configured address */ }
  const ago = (at) => {
    const seconds = Math.round((Date.now() - at) / 1000);
    if (seconds < 0) return formats.minute.format(at);
    if (seconds < 60) return `${seconds} s ago`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
    if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
    return formats[seconds < 300 * 86400 ? "day" : "date"].format(at);
  };
  // A clock time of another day says which day.
  const clockOrDay = (at) => (Date.now() - at < 20 * 3600e3 ? formats.clock : formats.minute).format(at);
  customElements.define("mj-time", class extends HTMLElement {
    static observedAttributes = ["at", "kind"];
    attributeChangedCallback() { this.draw(); }
    connectedCallback() { this.draw(); }
    draw() {
      const at = new Date(this.getAttribute("at") || "");
      if (Number.isNaN(at.getTime())) { show(this, ""); return; }
      const kind = this.getAttribute("kind") || "clock";
      const text = kind === "ago" ? ago(at) : kind === "clock" ? clockOrDay(at) : (formats[kind] || formats.stamp).format(at);
      show(this, text, `${formats.exact.format(at)} (${zone})`);
    }
  });
  setInterval(() => document.querySelectorAll('mj-time[kind="ago"]').forEach((one) => one.draw()), 5000);

  // ---------- keys, as this keyboard names them ----------
  customElements.define("mj-keys", class extends HTMLElement {
    connectedCallback() {
      const names = isMac ? { mod: "⌘" } : { mod: "Ctrl" };
      show(this, (this.getAttribute("keys") || "").split("+").map((key) => names[key] || key).join(isMac ? "" : " "));
    }
  });

  // ---------- the preview of a mail, in a page of its own that runs no scripts ----------
  customElements.define("mj-preview", class extends HTMLElement {
    static observedAttributes = ["html"];
    attributeChangedCallback() { this.draw(); }
    connectedCallback() { this.addEventListener("load", this.draw, true); }
    draw() {
      const page = $("iframe", this)?.contentDocument; // none: a link in it has led away
      if (page?.readyState === "complete" && page.location.pathname === "/preview.html") page.documentElement.innerHTML = this.getAttribute("html") || "";
    }
  });

  // ---------- copying ----------
  const copy = async (text) => {
    try { await navigator.clipboard.writeText(text); return true; } catch { /* plain http, or refused: the old way */ }
    const area = Object.assign(document.createElement("textarea"), { value: text });
    document.body.append(area); area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (button && (await copy(button.dataset.copy))) {
      button.classList.add("copied");
      setTimeout(() => button.classList.remove("copied"), 1500);
    }
  });

  // ---------- what the server asks of the browser: one of these, and nothing else ----------
  const COMMANDS = {
    toast: ({ tone, text, duration_ms: duration }) => globalThis.mjToast?.[tone === "error" ? "error" : "success"](String(text), duration ? { duration } : {}),
    // Both are full page loads: the websocket holds the cookie it was opened with.
    "sign-in": () => {
      const here = (location.pathname.replace(/\/$/, "") || "/") + location.search;
      location.replace(here === "/" ? "/login" : `/login?next=${encodeURIComponent(here)}`);
    },
    "sign-out": () => $("#sign-out")?.submit(),
  };
  customElements.define("mj-command", class extends HTMLElement {
    connectedCallback() {
      if (!Object.hasOwn(this, "value")) return;
      const early = this.value; // set before this script had defined the element
      delete this.value;
      this.value = early;
    }
    set value(command) { if (Object.hasOwn(COMMANDS, command?.do)) COMMANDS[command.do](command); }
  });

  // ---------- a form sent twice by a double click is sent once ----------
  const sentAt = new WeakMap();
  const once = (event) => {
    const what = event.type === "submit" ? event.target : event.target.closest("[data-submit]");
    if (!what || (event.type === "click" && what.type === "submit")) return;
    if (Date.now() - (sentAt.get(what) || 0) < 500) { event.preventDefault(); event.stopImmediatePropagation(); }
    else sentAt.set(what, Date.now());
  };
  addEventListener("submit", once, true);
  addEventListener("input", (event) => sentAt.delete(event.target.form), true);
  addEventListener("click", once, true);

  // ---------- the rail as a drawer on a phone; showing a password ----------
  document.addEventListener("click", (event) => {
    const target = event.target;
    if (target.closest("[data-menu]")) document.body.classList.toggle("menu-open");
    else if (target.closest(".rail a, .veil")) document.body.classList.remove("menu-open");
    const eye = target.closest("[data-reveal]");
    if (eye) {
      const input = $("input", eye.parentElement);
      input.type = input.type === "password" ? "text" : "password";
      eye.setAttribute("aria-pressed", String(input.type === "text"));
    }
  });

  // ---------- fields that start with what the address says; from then on they belong to who types ----------
  const filled = new WeakSet();
  const fill = () => document.querySelectorAll("input[data-query]").forEach((input) => {
    if (filled.has(input)) return;
    filled.add(input);
    const value = new URLSearchParams(location.search).get(input.dataset.query);
    if (value && !input.value) input.value = value;
  });
  new MutationObserver(fill).observe(document.documentElement, { childList: true, subtree: true });
  fill();

  // ---------- variables coloured inside a text area: a mirror behind it ----------
  const escape = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;");
  const mirror = (area) => {
    const back = area.parentElement.querySelector(".back");
    if (!back) return;
    back.innerHTML = escape(area.value).replace(/\{\{.*?\}\}|\{%.*?%\}/g, "<mark>$&</mark>") + "\n";
    back.scrollTop = area.scrollTop;
    area.parentElement.classList.add("lit");
  };
  document.addEventListener("input", (event) => { if (event.target.matches?.(".mirror textarea")) mirror(event.target); });
  new MutationObserver(() => document.querySelectorAll(".mirror textarea:not([data-seen])").forEach((area) => {
    area.dataset.seen = "1"; mirror(area); area.addEventListener("scroll", () => mirror(area));
  })).observe(document.documentElement, { childList: true, subtree: true });

  // ---------- going places without a page load ----------
  const go = (path) => {
    const link = $(`a[data-nav="${CSS.escape(path)}"]`);
    if (link) { link.click(); return; }
    history.pushState(null, "", path);
    dispatchEvent(new PopStateEvent("popstate", { state: null }));
  };

  // ---------- command palette ----------
  const ICONS = { go: "M5 12h14M12 5l7 7-7 7", Keys: "M2.586 17.414A2 2 0 0 0 2 18.828V21a1 1 0 0 0 1 1h3a1 1 0 0 0 1-1v-1a1 1 0 0 1 1-1h1a1 1 0 0 0 1-1v-1a1 1 0 0 1 1-1h.172a2 2 0 0 0 1.414-.586l.814-.814a6.5 6.5 0 1 0-4-4zM16.5 7.5v.01", Templates: "M6 22a2 2 0 0 1-2-2V4a2 2 0 0 1 2-2h8l6 6v12a2 2 0 0 1-2 2zM14 2v5a1 1 0 0 0 1 1h5M10 9H8M16 13H8M16 17H8", Connectors: "M12 22v-5M15 8V2M17 8a1 1 0 0 1 1 1v4a4 4 0 0 1-4 4h-4a4 4 0 0 1-4-4V9a1 1 0 0 1 1-1zM9 8V2", add: "M5 12h14M12 5v14", find: "m21 21-4.34-4.34M19 11a8 8 0 1 1-16 0 8 8 0 0 1 16 0", run: "m7 11 2-2-2-2M11 13h4M5 3h14a2 2 0 0 1 2 2v14a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2V5a2 2 0 0 1 2-2" };
  const make = (name, className, text) => { const one = document.createElement(name); if (className) one.className = className; if (text !== undefined) one.textContent = text; return one; };
  const picture = (path) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 24 24"); svg.setAttribute("class", "lucide");
    const line = document.createElementNS("http://www.w3.org/2000/svg", "path"); line.setAttribute("d", path); svg.append(line);
    return svg;
  };
  customElements.define("mj-palette", class extends HTMLElement {
    static observedAttributes = ["items"];
    attributeChangedCallback() { if (this.firstChild) this.list(); }
    get isOpen() { return Boolean(this.firstChild); }
    open() {
      if (this.isOpen) return;
      this.before = document.activeElement;
      press("#palette-fill");
      const overlay = make("div", "overlay"), box = make("div", "palette"), query = make("div", "q");
      box.setAttribute("role", "dialog"); box.setAttribute("aria-label", "Command palette"); box.setAttribute("aria-modal", "true");
      this.input = make("input"); this.input.placeholder = "Search or jump to"; this.input.setAttribute("aria-label", "Search or jump to");
      this.input.setAttribute("role", "combobox"); this.input.setAttribute("aria-controls", "palette-list"); this.input.setAttribute("aria-expanded", "true");
      query.append(picture(ICONS.find), this.input);
      this.results = make("div", "list"); this.results.id = "palette-list"; this.results.setAttribute("role", "listbox");
      const foot = make("div", "pf");
      foot.innerHTML = '<span><span class="kbd">↑</span><span class="kbd">↓</span>move</span><span><span class="kbd">Enter</span>run</span><span><span class="kbd">Esc</span>close</span><span class="end">Paste a message id to open it</span>';
      box.append(query, this.results, foot); overlay.append(box); this.append(overlay);
      overlay.addEventListener("mousedown", (event) => { if (event.target === overlay) this.close(); });
      this.input.addEventListener("input", () => { this.at = 0; this.list(); });
      this.addEventListener("keydown", this.keys);
      this.at = 0; this.list(); this.input.focus();
    }
    close() { this.removeEventListener("keydown", this.keys); this.replaceChildren(); this.before?.focus?.(); }
    keys(event) {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step) { event.preventDefault(); this.at = (this.at + step + this.shown.length) % Math.max(1, this.shown.length); this.mark(); }
      else if (event.key === "Enter") { event.preventDefault(); this.run(this.shown[this.at]); }
      else if (event.key === "Escape") { event.preventDefault(); event.stopPropagation(); this.close(); }
      else if (event.key === "Tab") event.preventDefault();
    }
    run(item) { if (!item) return; this.close(); go(item.to); }
    list() {
      const wanted = this.input.value.trim().toLowerCase();
      let items = JSON.parse(this.getAttribute("items") || "[]").filter((one) => !wanted ? one.first : `${one.text} ${one.meta || ""} ${one.also || ""} ${one.group}`.toLowerCase().includes(wanted));
      if (/^msg_[0-9a-z]{4,}$/.test(wanted)) items = [{ group: "Messages", text: "Open message", meta: wanted, to: `/messages?id=${wanted}`, icon: "find" }, ...items];
      else if (wanted) items.push({ group: "Messages", text: `Search messages for “${this.input.value.trim()}”`, to: `/messages?q=${encodeURIComponent(this.input.value.trim())}`, icon: "find" });
      this.results.replaceChildren(); this.shown = []; this.rows = [];
      for (const group of new Set(items.map((one) => one.group))) {
        const part = make("div", "g"); part.append(make("div", "gl", group));
        for (const item of items.filter((one) => one.group === group)) {
          const row = make("div", "o"); row.setAttribute("role", "option");
          row.append(picture(ICONS[item.icon] || ICONS.go), make("span", item.meta ? "" : "grow", item.text));
          if (item.meta) row.append(make("span", "mono muted grow ell", item.meta));
          for (const key of item.keys || []) row.append(make("span", "kbd", key));
          const index = this.shown.push(item) - 1; this.rows.push(row);
          row.addEventListener("mousemove", () => { if (this.at !== index) { this.at = index; this.mark(); } });
          row.addEventListener("click", () => this.run(item));
          part.append(row);
        }
        this.results.append(part);
      }
      this.mark();
    }
    mark() { this.rows.forEach((row, index) => { row.classList.toggle("on", index === this.at); row.setAttribute("aria-selected", String(index === this.at)); }); this.rows[this.at]?.scrollIntoView({ block: "nearest" }); }
  });
  document.addEventListener("click", (event) => { if (event.target.closest("[data-palette]")) $("mj-palette")?.open(); });

  // ---------- the upload of a campaign ----------
  const upload = async (input) => {
    const file = input.files[0]; if (!file) return;
    const label = input.closest("label"), say = (text) => { $("#upload-error").textContent = text; $("#upload-note").hidden = !text; };
    const body = new FormData();
    body.append("file", file);
    body.append("campaign", JSON.stringify({ name: (file.name.replace(/\.[^.]*$/, "") || "Campaign").slice(0, 255), mapping: {}, start: false, mode: input.dataset.mode === "live" ? "live" : "test" }));
    say(""); label.setAttribute("aria-busy", "true");
    try {
      const response = await fetch(`/api/v1/campaigns?projectId=${encodeURIComponent(input.dataset.project)}`, { method: "POST", body });
      const answer = await response.json();
      if (response.ok) location.assign(`/campaigns?id=${answer.id}`);
      else say(answer.error);
    } catch { say("The upload was cut off. Check your connection, then choose the file again."); }
    input.value = ""; label.removeAttribute("aria-busy");
  };
  document.addEventListener("change", (event) => { if (event.target.matches("[data-campaign-file]")) upload(event.target); });

  // ---------- keyboard ----------
  const PLACES = { o: "/", m: "/messages", d: "/dead-letters", b: "/campaigns", t: "/templates", c: "/connectors", k: "/keys", p: "/playground", s: "/settings" };
  const SINGLE = { c: "[data-create]", l: "[data-live]", y: "[data-curl]", t: "[data-mode]:not(.on)", "?": "#show-keys" };
  let waitsForPlace = 0;
  const isTyping = (target) => target.matches?.("input, textarea, select, [contenteditable]");
  const rows = () => [...document.querySelectorAll("a.cover")];
  const move = (step) => {
    const all = rows(); if (!all.length) return false;
    const open = $("tr.sel a.cover"), from = all.indexOf(document.activeElement.matches("a.cover") ? document.activeElement : open);
    const next = all[Math.min(all.length - 1, Math.max(0, from + step))];
    next.focus(); if (open && next !== open) next.click();
    return true;
  };
  const isCovered = () => Boolean($('[role="dialog"][data-state="open"], [role="menu"]'));
  document.addEventListener("keydown", (event) => {
    const key = event.key.toLowerCase(), mod = event.ctrlKey || event.metaKey;
    const done = () => event.preventDefault();
    if (mod && key === "k") { done(); $("mj-palette")?.open(); return; }
    if (mod && key === "enter") { if (press("[data-submit]:not([disabled])")) done(); return; }
    if (key === "escape" && !event.defaultPrevented && !isCovered()) {
      if (isTyping(event.target)) event.target.blur(); else if (press("[data-close]")) done();
      document.body.classList.remove("menu-open");
      return;
    }
    if (mod || event.altKey || isTyping(event.target) || isCovered() || $("mj-palette")?.isOpen) return;
    if (Date.now() < waitsForPlace && PLACES[key]) { waitsForPlace = 0; done(); go(PLACES[key]); return; }
    waitsForPlace = 0;
    if (key === "g") waitsForPlace = Date.now() + 1200;
    else if (key === "/" && $("[data-filter]")) { done(); $("[data-filter]").focus(); }
    else if (key === "j" || key === "arrowdown") { if (move(1)) done(); }
    else if (key === "k" || key === "arrowup") { if (move(-1)) done(); }
    else if (SINGLE[key] && press(SINGLE[key])) done();
  });

  // A closed drawer gives the focus back to its row.
  let opener = null;
  document.addEventListener("click", (event) => { const row = event.target.closest("a.cover"); if (row) opener = row; });
  document.addEventListener("click", (event) => { if (event.target.closest("[data-close]") && opener?.isConnected) setTimeout(() => opener.focus(), 50); });
})();
