// A key is revoked in the console of a control plane; gateways that are processes of their own refuse it within a second.

import assert from "node:assert/strict";
import { story } from "./browser.mjs";

const KEY_NAME = `leaked-${Date.now().toString(36)}`;
const WITHIN_MS = 1_000;
// What must happen happens long before; a machine may be busy.
const GIVE_UP_MS = 60_000;

await story(async ({ page, ready, step }) => {
  const workspace = `/workspaces/${ready.workspace_id}`;
  const body = JSON.stringify({ model: "gpt-4o-mini", messages: [{ role: "user", content: "Hi" }] });
  let secret;

  const keys = async (query) => {
    await page.goto(new URL(`${workspace}/keys${query}`, ready.console_url).href);
    await page.getByRole("heading", { level: 1, name: "Virtual keys" }).waitFor();
  };
  // Calls until the gateway answers with this status; gives the answer and when it came.
  const until = async (gateway, status) => {
    for (const begun = performance.now(); performance.now() - begun < GIVE_UP_MS; ) {
      const answer = await fetch(`${gateway.replace(/\/$/, "")}/v1/chat/completions`, {
        method: "POST",
        headers: { authorization: `Bearer ${secret}`, "content-type": "application/json" },
        body,
      });
      const text = await answer.text();
      if (answer.status === status) return { text, at: performance.now() };
    }
    throw new Error(`${gateway} never answered ${status}`);
  };

  await step("a person signs in", async () => {
    await page.goto(ready.console_url);
    await page.getByLabel("E-mail").fill(ready.admin_email);
    await page.getByLabel("Password").fill(ready.admin_password);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
  });

  await step("a new key works on both gateways", async () => {
    await keys("");
    await page.getByTestId("create-key").click();
    await page.getByLabel("Name", { exact: true }).fill(KEY_NAME);
    await page.getByTestId("create-key-dialog").getByRole("button", { name: "Create key" }).click();
    secret = (await page.getByTestId("secret").innerText()).trim();
    await Promise.all(ready.gateway_urls.map((gateway) => until(gateway, 200)));
  });

  await step("revoked in the console, it is refused by both within a second", async () => {
    await keys(`?q=${KEY_NAME}`);
    await page.getByRole("button", { name: KEY_NAME }).click();
    await page.getByTestId("revoke-key").click();
    const dialog = page.getByTestId("confirm");
    await dialog.getByRole("textbox").fill(KEY_NAME);
    const button = dialog.getByRole("button", { name: "Revoke key" });
    await page.waitForFunction((it) => !it.disabled, await button.elementHandle());
    const refused = Promise.all(ready.gateway_urls.map((gateway) => until(gateway, 401)));
    const clicked = performance.now();
    const [answers] = await Promise.all([refused, button.click()]);
    for (const { text, at } of answers) {
      assert.ok(text.includes("key_revoked"), text);
      assert.ok(at - clicked < WITHIN_MS, `refused only ${Math.round(at - clicked)} ms after the click`);
    }
    await page.getByTestId("key-panel").getByText("Revoked").first().waitFor();
  });
});
