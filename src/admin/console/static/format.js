// Numbers and times as texts.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

export const count = (number) => whole.format(number);

/** A number with its noun, which is in the plural for all but one. */
export const counted = (number, noun) => `${count(number)} ${number === 1 ? noun : `${noun}s`}`;

/** A rate: whole numbers from ten on, one decimal below. */
export const rate = (number) => (number >= 10 ? whole : tenth).format(number);

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(number) {
  let unit = 0;
  let value = number;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${(value >= 100 || unit === 0 ? whole : tenth).format(value)} ${UNITS[unit]}`;
}

/** A time of today as a clock, another one with its day. */
export function time(milliseconds) {
  const at = new Date(milliseconds);
  return (at.toDateString() === new Date().toDateString() ? clock : day).format(at);
}

/** A duration in its two largest units. */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [
    [Math.floor(whole / 86400), "d"],
    [Math.floor(whole / 3600) % 24, "h"],
    [Math.floor(whole / 60) % 60, "min"],
    [whole % 60, "s"],
  ];
  const first = parts.findIndex(([number]) => number > 0);
  if (first < 0) return "0 s";
  return parts
    .slice(first, first + 2)
    .filter(([number]) => number > 0)
    .map(([number, unit]) => `${number} ${unit}`)
    .join(" ");
}

export const age = (milliseconds) => `${duration((Date.now() - milliseconds) / 1000)} ago`;
