// How large the console is and how soon it is there, in headless Chromium against a Headgate that runs.
//
//   node paint.mjs READY [ROUNDS]
//
// READY is a file with the line that `headgate up --json` prints. Each round is a browser profile of its own, so nothing is cached there;
// one round before the first is not counted, so that the server is warm. Sign-in: the first paint (the skeleton of the page
// itself), and when the form can be typed in. Overview: the same of a reload while signed in; interactive is when its figures are drawn and not a skeleton.
// A page whose code comes in chunks, one of each part: how much wasm it needs when it is the first that is opened.
// Prints a table to standard error and one line of JSON; exit status 1 when a bound is missed.

import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { chromium } from "playwright-core";

const BOUNDS = { wasm_bytes: 600_000, first_paint_ms: 1_000, interactive_ms: 2_500 };
const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((file) => fs.existsSync(file));
// Without these, Chromium talks to its maker's hosts at every start.
const QUIET = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--disable-default-apps",
];

const ready = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
const rounds = Number(process.argv[3] ?? 5);

// In the page, before its own scripts: notes the first frame at which what is waited for is there.
const watch = (signIn, overview) => {
  globalThis.seen = {};
  const look = () => {
    const email = document.querySelector(signIn);
    if (email && !email.disabled) globalThis.seen.signIn ??= performance.now();
    if (document.querySelector(overview)?.textContent) globalThis.seen.overview ??= performance.now();
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
};
const SIGN_IN = "form input[type=email], form input[autocomplete=username]";
const OVERVIEW = "[data-testid=stat-requests] .stat-value";

// One page of each part in `web/src/chunks.rs`: the words of its link and of its heading.
const PARTS = { models: "Routes", money: "Budgets", people: "Nodes" };

// As sent: all files of wasm that the page has loaded.
const wasmBytes = (page) =>
  page.evaluate(() => {
    const sent = performance.getEntriesByType("resource").filter((it) => it.name.endsWith(".wasm"));
    return [...new Map(sent.map((it) => [it.name, it.encodedBodySize])).values()].reduce((sum, size) => sum + size, 0);
  });

const timesOf = async (page, what) => {
  await page.waitForFunction((what) => globalThis.seen?.[what] !== undefined, what);
  const times = await page.evaluate((what) => {
    const paint = performance.getEntriesByName("first-paint")[0];
    return { first_paint_ms: paint.startTime, interactive_ms: globalThis.seen[what] };
  }, what);
  return { ...times, wasm_bytes: await wasmBytes(page) };
};

const round = async () => {
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), "headgate-paint-"));
  const context = await chromium.launchPersistentContext(profile, { executablePath: CHROMIUM, headless: true, args: QUIET });
  try {
    const page = context.pages()[0] ?? (await context.newPage());
    await page.addInitScript(`(${watch})(${JSON.stringify(SIGN_IN)}, ${JSON.stringify(OVERVIEW)})`);
    await page.goto(ready.console_url);
    const signIn = await timesOf(page, "signIn");
    await page.getByLabel("E-mail").fill(ready.admin_email);
    await page.getByLabel("Password").fill(ready.admin_password);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("heading", { name: "Overview", exact: true }).waitFor();
    // As a first visit: the session stays, what was loaded does not.
    const session = await context.newCDPSession(page);
    await session.send("Network.clearBrowserCache");
    await page.reload();
    const seen = { signIn, overview: await timesOf(page, "overview") };
    for (const [part, title] of Object.entries(PARTS)) {
      const place = await page.getByRole("link", { name: title, exact: true }).first().getAttribute("href");
      await session.send("Network.clearBrowserCache");
      await page.goto(new URL(place, ready.console_url).href);
      await page.getByRole("heading", { level: 1, name: title, exact: true }).waitFor();
      seen[part] = { wasm_bytes: await wasmBytes(page) };
    }
    return seen;
  } finally {
    await context.close();
    fs.rmSync(profile, { recursive: true, force: true });
  }
};

const median = (values) => values.toSorted((left, right) => left - right)[Math.floor(values.length / 2)];

await round();
const all = [];
for (let n = 0; n < rounds; n += 1) all.push(await round());
const result = { rounds: all, missed: [] };
for (const view of Object.keys(all[0])) {
  result[view] = {};
  for (const [name, bound] of Object.entries(BOUNDS).filter(([name]) => name in all[0][view])) {
    const values = all.map((one) => one[view][name]);
    const middle = Math.round(median(values));
    result[view][name] = middle;
    if (middle > bound) result.missed.push(`${view}.${name}`);
    const span = `${Math.round(Math.min(...values))}–${Math.round(Math.max(...values))}`;
    console.error(`${view.padEnd(9)} ${name.padEnd(15)} ${String(middle).padStart(8)}  (${span}), bound ${bound}`);
  }
}
console.log(JSON.stringify(result));
process.exit(result.missed.length > 0 ? 1 : 0);
