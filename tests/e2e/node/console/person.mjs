// What every story about the console needs: a person who signs in and goes places, calls through the gateway, and asking the API.
//
// A story waits for what must come, by `until`, and never for a time.

import assert from "node:assert/strict";
import { story } from "../browser.mjs";

// What must happen happens long before; a machine may be busy.
const GIVE_UP_MS = 60_000;
const PAUSE_MS = 20;
// A place that takes more presses of a key than this is not reached by it.
const MOST_STEPS = 120;

// Asks until there is something, and gives it.
export async function until(what, ask) {
  for (const begun = performance.now(); performance.now() - begun < GIVE_UP_MS; ) {
    const found = await ask();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  throw new Error(`this never came: ${what}`);
}

// Every page of the console with its heading, as [name, place, heading].
export const pagesOf = (workspace, organization) => [
  ["overview", `${workspace}/overview`, "Overview"],
  ["overview-hour", `${workspace}/overview?range=1h`, "Overview"],
  ["requests", `${workspace}/requests`, "Requests"],
  ["keys", `${workspace}/keys`, "Virtual keys"],
  ["routes", `${workspace}/routes`, "Routes"],
  ["deployments", `${workspace}/routes?tab=deployments`, "Routes"],
  ["budgets", `${workspace}/budgets`, "Budgets"],
  ["rate-limits", `${workspace}/rate-limits`, "Rate limits"],
  ["usage", `${workspace}/usage`, "Usage"],
  ["members", `${organization}/members`, "Members & roles"],
  ["credentials", `${organization}/credentials`, "Credentials"],
  ["models", `${organization}/models`, "Models & prices"],
  ["prices", `${organization}/models?tab=prices`, "Models & prices"],
  ["providers", `${organization}/models?tab=providers`, "Models & prices"],
  ["ledger", `${organization}/ledger`, "Ledger"],
  ["kill-switches", `${organization}/kill-switches?show=all`, "Kill switches"],
  ["nodes", `${organization}/nodes`, "Nodes"],
  ["node-groups", `${organization}/nodes?tab=groups`, "Nodes"],
  ["join-tokens", `${organization}/nodes?tab=tokens`, "Nodes"],
  ["audit", `${organization}/audit`, "Audit"],
  ["settings", `${organization}/settings`, "Settings"],
  ["workspaces", `${organization}/settings?tab=workspaces`, "Settings"],
  ["environments", `${organization}/settings?tab=environments`, "Settings"],
  ["access-tokens", `${organization}/settings?tab=tokens`, "Settings"],
  ["account", "/account", "Your account"],
];

function person({ page, ready, step }) {
  const workspace = `/workspaces/${ready.workspace_id}`;
  const organization = `/organizations/${ready.organization_id}`;
  const gateways = (ready.gateway_urls ?? [ready.gateway_url]).filter(Boolean).map((url) => url.replace(/\/$/, ""));

  const at = async (heading) => page.getByRole("heading", { level: 1, name: heading, exact: true }).waitFor();
  const go = async (place, heading) => {
    await page.goto(new URL(place, ready.console_url).href);
    await at(heading);
  };
  // Everything that was asked for has come.
  const settled = () => until("the end of loading", async () => (await page.locator(".skeleton").count()) === 0);

  const enter = async () => {
    await page.getByLabel("E-mail").fill(ready.admin_email);
    await page.getByLabel("Password").fill(ready.admin_password);
    await page.getByRole("button", { name: "Sign in" }).click();
  };
  // Who is not signed in is told so by a 401, which the browser writes down.
  const signIn = () =>
    step(
      "a person signs in",
      async () => {
        await page.goto(ready.console_url);
        await enter();
        await at("Overview");
      },
      /401/,
    );

  const post = (url, token, body) =>
    fetch(url, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  // Asks the API for itself, beside the console: what a story needs and is not about.
  const make = async (place, body) => {
    const answer = await post(`${ready.api_url}${place}`, ready.access_token, body);
    assert.equal(answer.status, 201, `${place}: ${await answer.clone().text()}`);
    return answer.json();
  };
  const list = async (place) =>
    (await fetch(`${ready.api_url}${place}`, { headers: { authorization: `Bearer ${ready.access_token}` } })).json();

  const call = (secret, body = {}, gateway = gateways[0]) =>
    post(`${gateway}/v1/chat/completions`, secret, { model: "gpt-4o-mini", messages: [{ role: "user", content: "Hi" }], ...body });
  // Calls until the gateway answers with this status; gives the answer and when it came.
  const answered = (status, secret, body, gateway) =>
    until(`an answer with ${status}`, async () => {
      const answer = await call(secret, body, gateway);
      const text = await answer.text();
      return answer.status === status && { text, at: performance.now() };
    });

  // Creates a key as a person does, and gives its secret.
  const newKey = async (name) => {
    await go(`${workspace}/keys?new=1`, "Virtual keys");
    await page.getByLabel("Name", { exact: true }).fill(name);
    await page.getByTestId("create-key-dialog").getByRole("button", { name: "Create key" }).click();
    const secret = (await page.getByTestId("secret").innerText()).trim();
    await page.getByRole("button", { name: "I have saved it" }).click();
    await page.getByTestId("secret").waitFor({ state: "detached" });
    return secret;
  };
  // Answers the question before an act that cannot be taken back.
  const confirm = async (name, act) => {
    const dialog = page.getByTestId("confirm");
    await dialog.getByRole("textbox").fill(name);
    await dialog.getByRole("button", { name: act }).click();
  };

  // === By keyboard alone ===

  const press = (...keys) => keys.reduce((before, key) => before.then(() => page.keyboard.press(key)), Promise.resolve());
  const type = (text) => page.keyboard.type(text);
  // What has the focus: its words, and whether one sees that it has.
  const focused = () =>
    page.evaluate(() => {
      const it = document.activeElement;
      if (!it || it === document.body) return { name: "", isSeen: false };
      const named = it.getAttribute("aria-labelledby")?.split(" ").map((id) => document.getElementById(id)?.textContent).join(" ");
      const name = it.getAttribute("aria-label") ?? named ?? it.labels?.[0]?.innerText ?? it.innerText ?? "";
      const drawn = [it, it.nextElementSibling, it.closest("label"), it.parentElement].filter(Boolean).map((part) => getComputedStyle(part));
      const isSeen = drawn.some((style) => (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== "none");
      const box = it.getBoundingClientRect();
      const isInView = box.bottom > 0 && box.top < innerHeight;
      return { name: name.replaceAll(/\s+/g, " ").trim(), isSeen: isSeen && isInView, tag: it.tagName };
    });
  // Goes on with one key until what is wanted has the focus; on the way, the focus is always seen.
  const reach = async (wanted, key = "Tab") => {
    const passed = [];
    for (let n = 0; n < MOST_STEPS; n += 1) {
      await press(key);
      const now = await focused();
      passed.push(now.name);
      if (now.name) assert.ok(now.isSeen, `one sees that “${now.name}” (${now.tag}) has the focus`);
      if (wanted.test(now.name)) return now.name;
    }
    throw new Error(`${wanted} is not reached by ${key}; on the way were ${passed.join(" | ").slice(0, 900)}`);
  };

  return { workspace, organization, gateways, at, go, settled, enter, signIn, make, list, call, answered, newKey, confirm, press, type, focused, reach };
}

// Tells a story as `browser.mjs` does, with what a person does at hand.
export const told = (tell) => story((it) => tell({ ...it, ...person(it) }));
export { assert };
