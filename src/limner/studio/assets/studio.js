// Keys, focus and what screen readers need; no requests leave this server.
(() => {
  const seen = (element) => element && element.offsetParent !== null;
  const first = (selector) => [...document.querySelectorAll(selector)].find((b) => seen(b) && !b.disabled);

  // What a page ordered outlives its reload, and is no other page's that is open beside it. A page that is opened while no
  // other is takes up what was ordered last.
  const pages = new BroadcastChannel("limner");
  let alone = true;
  pages.onmessage = ({ data }) => (data === "who is open?" ? pages.postMessage("I") : (alone = false));
  pages.postMessage("who is open?");
  const answered = new Promise((done) => setTimeout(done, 300));
  window.limner = {
    async kept(tab) {
      const own = sessionStorage.getItem(`limner-jobs-${tab}`);
      if (own === null) await answered;
      return JSON.parse(own ?? (alone ? localStorage.getItem(`limner-jobs-${tab}`) : null) ?? "[]");
    },
    keep(tab, jobs) {
      for (const place of [sessionStorage, localStorage]) place.setItem(`limner-jobs-${tab}`, JSON.stringify(jobs));
    },
  };

  document.addEventListener("keydown", (event) => {
    if (event.isComposing) return; // the keys belong to whoever composes a character
    if ((event.ctrlKey || event.metaKey) && event.key === "Enter" && !event.repeat) {
      const button = first(".lm-go");
      if (button) {
        event.preventDefault();
        // The field that is being typed into hands its text over when it loses the focus.
        const field = document.activeElement;
        if (field instanceof HTMLInputElement) field.dispatchEvent(new Event("change", { bubbles: true }));
        if (field?.type === "number") {
          field.blur(); // an emptied slider takes a number when it is left
          field.focus();
        }
        setTimeout(() => button.click(), 50);
      }
    } else if (event.key === "Escape" && !document.querySelector("dialog[open], [role=listbox]")) {
      first(".lm-cancel")?.click();
    } else if (event.key.startsWith("Arrow")) {
      walk(event);
    }
  });

  // Arrow keys move through the history in both axes.
  function walk(event) {
    const here = document.activeElement?.closest?.(".lm-thumb");
    if (!here) return;
    const all = [...here.parentElement.querySelectorAll(".lm-thumb")];
    const at = all.indexOf(here);
    const row = all.filter((b) => b.offsetTop === all[0].offsetTop).length;
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -row, ArrowDown: row }[event.key];
    const next = all[at + by];
    if (next) {
      event.preventDefault();
      next.focus();
    }
  }

  document.addEventListener("click", (event) => {
    if (innerWidth < 720 && event.target.closest?.(".lm-go")) {
      // On a telephone the stage lies below the settings.
      [...document.querySelectorAll(".lm-status")].find(seen)?.scrollIntoView({ block: "start" });
    }
    if (innerWidth < 720 && event.target.closest?.(".lm-thumb")) {
      // So does what a picture was made from; it comes a moment later.
      setTimeout(() => document.getElementById("lm-inspector")?.scrollIntoView({ block: "start" }), 400);
    }
    const copy = event.target.closest?.("[data-copy]");
    if (copy) navigator.clipboard?.writeText(copy.dataset.copy).then(() => (copy.textContent = "Copied"));
  });

  // A file that the canvas cannot show is refused before it gets there: the canvas itself would say nothing.
  const MOST_BYTES = 20 * 2 ** 20; // UPLOADS of canvas.py
  const MOST_PIXELS = 64 * 2 ** 20; // LARGEST of images.py
  async function fault(file) {
    if (file.size > MOST_BYTES) return `has ${Math.ceil(file.size / 2 ** 20)} MB; at most ${MOST_BYTES / 2 ** 20} are taken`;
    const picture = new Image();
    try {
      picture.src = URL.createObjectURL(file);
      await new Promise((done, failed) => Object.assign(picture, { onload: done, onerror: failed }));
      const [width, height] = [picture.naturalWidth, picture.naturalHeight];
      if (width * height > MOST_PIXELS) return `${width} x ${height} is more than ${MOST_PIXELS / 2 ** 20} Mpixel; make it smaller`;
      (await createImageBitmap(file)).close();
      return "";
    } catch {
      return "broken, or no picture that this browser can paint on; save it as a PNG or JPEG";
    } finally {
      URL.revokeObjectURL(picture.src);
    }
  }
  async function looked(event) {
    const { target, type } = event;
    const board = target.closest?.(".lm-canvas");
    const file = (type === "drop" ? event.dataTransfer : target).files?.[0];
    if (!board || !file || !event.isTrusted) return; // what is sent on below is not trusted
    event.stopImmediatePropagation();
    event.preventDefault();
    const why = await fault(file);
    board.querySelector(".lm-refused")?.remove();
    if (why) {
      const name = file.name.length > 60 ? `${file.name.slice(0, 57)}...` : file.name;
      const line = Object.assign(document.createElement("p"), { className: "lm-fault lm-refused", textContent: `${name}: ${why}` });
      line.setAttribute("role", "alert");
      board.append(line);
      if (type === "change") target.value = "";
      return;
    }
    const moved = new DataTransfer();
    moved.items.add(file);
    const more = { bubbles: true, cancelable: true };
    target.dispatchEvent(type === "drop" ? new DragEvent(type, { ...more, dataTransfer: moved }) : new Event(type, more));
  }
  for (const type of ["change", "drop"]) window.addEventListener(type, looked, true);

  // Words that were typed outlive a reload: gradio loads the page again when its server comes back.
  const typed = (field) => field.closest?.("[id^=lm-][id$=-prompt]")?.id;
  document.addEventListener("input", ({ target }) => {
    if (typed(target)) sessionStorage.setItem(typed(target), target.value);
  });
  function recall() {
    document.querySelectorAll("[id^=lm-][id$=-prompt] textarea:not([data-recalled])").forEach((field) => {
      field.dataset.recalled = "";
      const words = sessionStorage.getItem(typed(field));
      if (!words || field.value) return;
      field.value = words;
      field.dispatchEvent(new Event("input", { bubbles: true }));
    });
  }

  // What Python writes replaces the buttons inside it; the focus goes back to the one of the same key.
  let key = null;
  document.addEventListener("focusin", (event) => (key = event.target.closest?.("[data-key]")?.dataset.key ?? null));

  // A button that its own press greys out or removes hands the focus on to the one that takes the deed back.
  const UNDOES = { "lm-delete": "lm-undo", "lm-undo": "lm-delete" };
  let pressed = null;
  document.addEventListener("click", ({ target }) => (pressed = target.closest?.("button")?.id ?? null));
  function handOn() {
    const next = document.getElementById(UNDOES[pressed] ?? "");
    if (document.activeElement === document.body && seen(next) && !next.disabled) {
      next.focus();
      pressed = null;
    }
  }

  const label = (selector, name) =>
    document.querySelectorAll(selector).forEach((e) => e.getAttribute("aria-label") || e.setAttribute("aria-label", name));

  // A tab that opens is seen from its top.
  let tab = null;
  function top() {
    const now = document.querySelector('#lm-tabs [role="tab"][aria-selected="true"]')?.id ?? null;
    if (tab !== null && now !== tab) window.scrollTo({ top: 0 });
    tab = now;
  }

  let asked = false;
  function settle() {
    asked = false;
    if (key && document.activeElement === document.body) document.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
    handOn();
    document.querySelectorAll(".lm-status").forEach((e) => {
      if (!e.hasAttribute("role")) {
        e.setAttribute("role", "status");
        e.setAttribute("aria-live", "polite");
      }
    });
    document.documentElement.lang ||= "en";
    // A button that holds another button is no button for who hears the page.
    document.querySelectorAll(".toast-header[role]").forEach((e) => ["role", "tabindex"].forEach((n) => e.removeAttribute(n)));
    label(".lm-canvas canvas", "Canvas");
    recall();
    top();
  }
  new MutationObserver(() => {
    if (!asked) {
      asked = true;
      requestAnimationFrame(settle);
    }
  }).observe(document.documentElement, { childList: true, subtree: true });
})();
