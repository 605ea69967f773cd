// Gateways that are processes of their own: a key revoked in the console is refused by all within a second, a refusal of a node is
// shown with its reason, and a node is revoked.

import { assert, told, until } from "./person.mjs";

const KEY_NAME = `leaked-${Date.now().toString(36)}`;
const WITHIN_MS = 1_000;
const NACK = {
  revision: 1,
  reasons: [{ resource: "route/rte_00000000000000000000000001", reason: "a target names a deployment that is not there" }],
  at: new Date().toISOString(),
};

await told(async ({ page, step, look, workspace, organization, gateways, go, settled, signIn, answered, newKey, confirm }) => {
  await signIn();
  let secret;

  await step("a new key works on every gateway", async () => {
    secret = await newKey(KEY_NAME);
    await Promise.all(gateways.map((gateway) => answered(200, secret, {}, gateway)));
  });

  await step("revoked in the console, it is refused by all within a second", async () => {
    await go(`${workspace}/keys?q=${KEY_NAME}`, "Virtual keys");
    await page.getByRole("button", { name: KEY_NAME }).click();
    await page.getByTestId("revoke-key").click();
    const dialog = page.getByTestId("confirm");
    await dialog.getByRole("textbox").fill(KEY_NAME);
    const button = dialog.getByRole("button", { name: "Revoke key" });
    await page.waitForFunction((it) => !it.disabled, await button.elementHandle());
    const refused = Promise.all(gateways.map((gateway) => answered(401, secret, {}, gateway)));
    const clicked = performance.now();
    const [answers] = await Promise.all([refused, button.click()]);
    for (const { text, at } of answers) {
      assert.ok(text.includes("key_revoked"), text);
      assert.ok(at - clicked < WITHIN_MS, `refused only ${Math.round(at - clicked)} ms after the click`);
    }
    await page.getByTestId("key-panel").getByText("Revoked").first().waitFor();
  });

  const rows = page.getByRole("row").filter({ has: page.locator(".row-open") });

  await step("every node that joined is in step", async () => {
    await go(`${organization}/nodes`, "Nodes");
    await settled();
    await until("all nodes in step", async () => (await rows.filter({ hasText: "In step" }).count()) === gateways.length);
    await page.getByRole("row").filter({ hasText: "frankfurt" }).waitFor();
    await page.getByText(`${gateways.length} of ${gateways.length}`).waitFor();
    await look("nodes-three");
  });

  await step("what a node refused is shown with the reason", async () => {
    // The real answer, in which the first node has refused something: real nodes refuse nothing that a sound control plane sends.
    const nodes = /\/organizations\/[^/]+\/nodes(\?|$)/;
    await page.route(nodes, async (route) => {
      const answer = await route.fetch();
      const body = await answer.json();
      body.items[0].last_nack = NACK;
      await route.fulfill({ response: answer, json: body });
    });
    const row = rows.filter({ hasText: "Refused objects" });
    await row.waitFor();
    await row.locator(".row-open").click();
    const panel = page.getByRole("dialog").filter({ hasText: "Certificate ends" });
    await panel.getByText(/^Refused objects of revision 1 at /).waitFor();
    await panel.getByText(NACK.reasons[0].reason).waitFor();
    await look("node-refused");
    await page.unroute(nodes);
    await panel.getByText(/^Refused objects/).first().waitFor({ state: "detached" });
    await panel.getByText("In step").waitFor();
    await page.keyboard.press("Escape");
  });

  await step("a node is revoked after its name was typed", async () => {
    const row = page.getByRole("row").filter({ hasText: "frankfurt" });
    const name = (await row.locator(".row-open").innerText()).trim();
    await row.locator(".row-open").click();
    const panel = page.getByRole("dialog", { name, exact: true });
    await panel.getByRole("button", { name: "Revoke" }).click();
    await page.getByTestId("confirm").getByText("Its stream is cut within seconds").waitFor();
    await look("node-revoke");
    await confirm(name, "Revoke node");
    await panel.getByText("Revoked", { exact: true }).first().waitFor();
    await panel.getByRole("button", { name: "Revoke" }).waitFor({ state: "detached" });
    await page.keyboard.press("Escape");
    await row.getByText("Revoked").waitFor();
    await page.getByText(`${gateways.length - 1} of ${gateways.length - 1}`).waitFor();
  });
});
