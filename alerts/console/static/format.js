// Times, ages, probabilities and names as people read them.

const formats = new Map();

function format(zone, options) {
  const key = JSON.stringify([zone, options]);
  if (!formats.has(key)) {
    try {
      formats.set(key, new Intl.DateTimeFormat("en-GB", { timeZone: zone, hourCycle: "h23", ...options }));
    } catch {
      formats.set(key, new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", hourCycle: "h23", ...options }));
    }
  }
  return formats.get(key);
}

const HMS = { hour: "2-digit", minute: "2-digit", second: "2-digit" };

/** 14:05:09 in the site's zone. */
export const clockTime = (iso, zone) => format(zone, HMS).format(new Date(iso));

/** 14:05:09.5: evidence frames lie half a second apart. */
export const fineTime = (iso, zone) => format(zone, { ...HMS, fractionalSecondDigits: 1 }).format(new Date(iso));

/** With the date when it is not today's, and the zone. */
export function fullTime(iso, zone) {
  const day = format(zone, { day: "numeric", month: "short" });
  const date = day.format(new Date(iso));
  const named = format(zone, { ...HMS, timeZoneName: "short" }).format(new Date(iso));
  return date === day.format(new Date()) ? named : `${date}, ${named}`;
}

export function age(iso, now = Date.now()) {
  const seconds = Math.max(0, Math.round((now - Date.parse(iso)) / 1000));
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

export const share = (p) => (Number.isFinite(p) ? p.toFixed(2) : "–");

export const percent = (x) => `${Math.min(100, Math.max(0, 100 * x))}%`;

export const confidenceWord = (p) => (p >= 0.8 ? "High" : p >= 0.6 ? "Medium" : "Low");

const COMPONENTS = {
  vlm_token: "Model's own certainty",
  temporal_agreement: "Times agree with motion",
  detector_agreement: "Boxes agree with regions",
  evidence_match: "Evidence matches",
  coarse: "Watcher's score",
  crop_check: "Crop asked again",
  counterfactual: "Answer needs its evidence",
  self_consistency: "Asked several times",
  second_look: "Closer look",
  consistency: "Answer fits its claims",
  frame_order: "Pictures in order",
};

export const componentName = (key) => (Object.hasOwn(COMPONENTS, key) ? COMPONENTS[key] : key.replaceAll("_", " "));

const RECHECKS = {
  crop: "The cited places alone",
  masked: "All but the cited places",
  samples: "The same once more, several times",
  closer: "The cited places, closer and more often",
  unlettered: "Everything, with no writing to be read",
};

/** What the model was shown when it was asked once more. */
export const recheckName = (key) => (Object.hasOwn(RECHECKS, key) ? RECHECKS[key] : key.replaceAll("_", " "));

export const cost = ({ cost_ms: ms, tokens }) =>
  `${ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`}, ${tokens} tokens`;

const REASONS = {
  low_confidence: "The confidence is below the threshold.",
  evidence_conflict: "The independent check contradicts part of the evidence.",
  no_evidence: "The model pointed at nothing that could be checked.",
  outside_zones: "The evidence lies outside the zones of the rule.",
  answer_no: "The model's answer was no.",
  claim_dropped: "A claim that did not stand its check is left out.",
  onset_not_seen: "It went on already in the first picture; when it began is told by the watcher's scores.",
  crop_contradicts: "The cited places, shown on their own, do not bear out the answer.",
  evidence_not_needed: "The answer stays the same when the cited places are hidden.",
  looks_disagree: "Asked again, the model came to another answer.",
  recheck_failed: "The model failed or did not answer in time when it was asked again.",
  unsure_yes: "The model's yes was not sure enough.",
  output_empty: "The model gave an empty answer.",
  output_endless: "The model did not come to an end.",
  output_repeats: "The model repeated itself instead of answering.",
  output_language: "The model answered in another language than it was asked to.",
  output_unclear: "The model's answer is neither a yes nor a no.",
  evidence_out_of_range: "The model pointed at times or places outside of what it was shown.",
  probabilities_invalid: "The model's probabilities are no numbers.",
  model_failed: "The model failed or did not answer in time.",
  view_degraded: "Too many pictures are missing or damaged.",
  claims_left_out: "The summary has no room for all that the model said.",
  contradicted_later: "Taken back: a later look at the same moments and more found nothing of it.",
};

export const reason = (key) => (Object.hasOwn(REASONS, key) ? REASONS[key] : key.replaceAll("_", " "));

const CLOCKS = { rtcp_sr: "camera clock", camera_ntp: "camera clock", arrival: "arrival time", file: "file time" };

export const clockName = (key) => (Object.hasOwn(CLOCKS, key) ? CLOCKS[key] : key);
