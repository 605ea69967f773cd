// The harness of browser stories: real Chromium, named steps, screenshots in both themes, axe-core.
//
// A story is called with the ready line of Headgate (JSON) and a folder for screenshots:
//
//   import { story } from "./browser.mjs";
//   await story(async ({ page, ready, step, shot, axe, look }) => {
//     await step("sign in", async () => { … });   // a step that throws is reported; the story goes on with the next
//     await step("a wrong password", async () => { … }, /status of 401/);   // what the console of the browser may say of it
//     await shot("overview");                      // overview-light.png, overview-dark.png, and -390 for a phone
//     await axe("overview");                       // serious and critical findings fail the story
//     await look("overview");                      // both, and no part of it is wider than the window
//   });
//
// Prints one line of JSON: {"steps": [{name, ok, why}], "violations": […], "n_screenshots", "console_errors": [{step, text}]},
// and what the story gave back as "told".

import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const require = createRequire(import.meta.url);
const AXE = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((file) => fs.existsSync(file));
// Without these, Chromium talks to its maker's hosts at every start.
const QUIET = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--disable-default-apps",
];
const SCHEMES = ["light", "dark"];
const WIDE = { width: 1440, height: 900 };
const PHONE = { width: 390, height: 844 };

export async function story(tell) {
  const ready = JSON.parse(process.argv[2]);
  const folder = process.argv[3];
  const result = { steps: [], violations: [], n_screenshots: 0, console_errors: [] };
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), "headgate-browser-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM,
    headless: true,
    args: QUIET,
    viewport: WIDE,
    colorScheme: "light",
    reducedMotion: "reduce",
    permissions: ["clipboard-read", "clipboard-write"],
  });
  const page = context.pages()[0] ?? (await context.newPage());
  // What a step waits for comes at once; a busy machine may make it late.
  page.setDefaultTimeout(45_000);
  // The step under way, and what it provokes.
  let under = { name: "before the first step", provokes: undefined };
  const complain = (text) => {
    if (!under.provokes?.test(text)) result.console_errors.push({ step: under.name, text });
  };
  page.on("console", (message) => message.type() === "error" && complain(`${message.text()} ${message.location().url}`));
  page.on("pageerror", (error) => complain(String(error)));

  const step = async (name, act, provokes) => {
    under = { name, provokes };
    try {
      await act();
      result.steps.push({ name, ok: true });
    } catch (error) {
      const text = await page.innerText("body").catch(() => "");
      result.steps.push({ name, ok: false, why: String(error).slice(0, 1500), at: page.url(), text: text.slice(0, 1500) });
      await page.screenshot({ path: path.join(folder, `failed-${name.replaceAll(/\W+/g, "-")}.png`) }).catch(() => {});
    }
  };

  // The console may keep a choice of its own; the attribute is what its style sheets look at.
  const theme = async (scheme) => {
    await page.emulateMedia({ colorScheme: scheme });
    await page.evaluate((scheme) => document.documentElement.setAttribute("data-theme", scheme), scheme);
  };
  const photograph = async (file) => {
    await page.screenshot({ path: path.join(folder, `${file}.png`), fullPage: true });
    result.n_screenshots += 1;
  };
  const examine = async (name, scheme) => {
    // By evaluation and not by a script element: the content security policy forbids the latter, as it should.
    await page.evaluate(AXE);
    const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
    for (const violation of found.violations) {
      if (!["serious", "critical"].includes(violation.impact)) continue;
      const nodes = violation.nodes.slice(0, 3).map((node) => `${node.target.join(" ")}: ${node.failureSummary}`);
      result.violations.push({ page: name, scheme, id: violation.id, impact: violation.impact, help: violation.help, nodes });
    }
  };
  // How much wider than the window the page is, or a dialog above it.
  const overflow = () =>
    page.evaluate(() => {
      const open = [...document.querySelectorAll("dialog[open], .dialog-body")];
      return Math.max(...[document.documentElement, ...open].map((it) => it.scrollWidth - it.clientWidth));
    });

  // Sees the page in both themes and widths; `act` is done in each theme.
  const see = async (name, { shots, act, narrow }) => {
    for (const size of shots ? [WIDE, PHONE] : [WIDE]) {
      await page.setViewportSize(size);
      for (const scheme of SCHEMES) {
        await theme(scheme);
        if (shots) await photograph(`${name}-${scheme}${size === PHONE ? "-390" : ""}`);
        if (size === WIDE) await act?.(scheme);
      }
      if (narrow) await narrow(size);
    }
    await page.setViewportSize(WIDE);
    await theme("light");
  };
  const shot = (name) => see(name, { shots: true });
  const axe = (name) => see(name, { act: (scheme) => examine(name, scheme) });
  const look = (name) =>
    see(name, {
      shots: true,
      act: (scheme) => examine(name, scheme),
      narrow: async ({ width }) => {
        const wider = await overflow();
        if (wider > 0) throw new Error(`${name} is ${wider} px wider than a window of ${width}`);
      },
    });

  try {
    result.told = await tell({ page, context, ready, step, shot, axe, look });
  } catch (error) {
    result.steps.push({ name: "story", ok: false, why: String(error?.stack ?? error).slice(0, 2000), at: page.url() });
  }
  await context.close();
  fs.rmSync(profile, { recursive: true, force: true });
  console.log(JSON.stringify(result));
  process.exit(0);
}
