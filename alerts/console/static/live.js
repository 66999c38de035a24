// Follows /events: resumes after a lost connection, and tells silence from a dead line.

const SILENT_MS = 25_000;
const AGAIN_MS = 2_000;

/** Calls hello(resumed), alert({alert_id, revision}), status(record) and state("live" | "lost"). */
export function follow({ hello, alert, status, state }) {
  let last = "";
  let source = null;
  let watch = 0;

  const heard = (event) => {
    clearTimeout(watch);
    watch = setTimeout(again, SILENT_MS);
    if (event.lastEventId) last = event.lastEventId;
    state("live");
  };
  const on = (name, act) => source.addEventListener(name, (event) => {
    heard(event);
    act(JSON.parse(event.data));
  });

  function again() {
    source.close();
    clearTimeout(watch);
    state("lost");
    setTimeout(open, AGAIN_MS);
  }

  function open() {
    source = new EventSource(last ? `/events?after=${encodeURIComponent(last)}` : "/events");
    watch = setTimeout(again, SILENT_MS);
    on("hello", (data) => hello(data.resumed));
    on("alert", alert);
    on("status", status);
    on("beat", () => {});
    source.addEventListener("error", () => {
      state("lost");
      // The browser comes back by itself after a broken connection, not after a refusal.
      if (source.readyState === EventSource.CLOSED) again();
    });
  }

  open();
}
