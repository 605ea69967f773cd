// The harness of browser stories: real Chromium, named steps, screenshots in both themes, axe-core.
//
// A story is called with the ready line of Headgate (JSON) and a folder for screenshots:
//
//   import { story } from "./browser.mjs";
//   await story(async ({ page, ready, step, shot, axe }) => {
//     await step("sign in", async () => { … });   // a step that throws is reported; the story goes on with the next
//     await shot("overview");                      // overview-light.png, overview-dark.png, and -390 for a phone
//     await axe("overview");                       // serious and critical findings fail the story
//   });
//
// Prints one line of JSON: {"steps": [{name, ok, why}], "violations": […], "n_screenshots", "console_errors": […]}.

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

export async function story(tell) {
  const ready = JSON.parse(process.argv[2]);
  const folder = process.argv[3];
  const result = { steps: [], violations: [], n_screenshots: 0, console_errors: [] };
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), "headgate-browser-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM,
    headless: true,
    args: QUIET,
    viewport: { width: 1440, height: 900 },
    colorScheme: "light",
    reducedMotion: "reduce",
  });
  const page = context.pages()[0] ?? (await context.newPage());
  // What a step waits for comes at once; a busy machine may make it late.
  page.setDefaultTimeout(45_000);
  page.on("console", (message) => message.type() === "error" && result.console_errors.push(message.text()));
  page.on("pageerror", (error) => result.console_errors.push(String(error)));

  const step = async (name, act) => {
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

  const shot = async (name) => {
    for (const width of [1440, 390]) {
      await page.setViewportSize({ width, height: width === 390 ? 844 : 900 });
      for (const scheme of ["light", "dark"]) {
        await theme(scheme);
        const suffix = width === 390 ? "-390" : "";
        await page.screenshot({ path: path.join(folder, `${name}-${scheme}${suffix}.png`), fullPage: true });
        result.n_screenshots += 1;
      }
    }
    await page.setViewportSize({ width: 1440, height: 900 });
    await theme("light");
  };

  const axe = async (name) => {
    for (const scheme of ["light", "dark"]) {
      await theme(scheme);
      // By evaluation and not by a script element: the content security policy forbids the latter, as it should.
      await page.evaluate(AXE);
      const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
      for (const violation of found.violations) {
        if (!["serious", "critical"].includes(violation.impact)) continue;
        const nodes = violation.nodes.slice(0, 3).map((node) => `${node.target.join(" ")}: ${node.failureSummary}`);
        result.violations.push({ page: name, scheme, id: violation.id, impact: violation.impact, help: violation.help, nodes });
      }
    }
    await theme("light");
  };

  try {
    await tell({ page, context, ready, step, shot, axe });
  } catch (error) {
    result.steps.push({ name: "story", ok: false, why: String(error?.stack ?? error).slice(0, 2000), at: page.url() });
  }
  await context.close();
  fs.rmSync(profile, { recursive: true, force: true });
  console.log(JSON.stringify(result));
  process.exit(0);
}
