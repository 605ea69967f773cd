// Gateways that are processes of their own: a key revoked in the console is refused by all within a second, a refusal of a node is
// shown with its reason, and a node is revoked.

import { execFileSync } from "node:child_process";
import { assert, told, until } from "./person.mjs";

const KEY_NAME = `leaked-${Date.now().toString(36)}`;
const WITHIN_MS = 1_000;
// Within this of the change, the page says what a node refused (docs/PROTOCOL.md).
const REFUSAL_WITHIN_MS = 2_000;

// Changes the database as nobody may who goes by the API: a superuser with a statement, who gets back what it returns.
function sql({ host, password }, statement) {
  const where = ["--host", host, "--username", "headgate_super", "--dbname", "headgate"];
  const how = ["--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1", "--command", statement];
  return execFileSync("psql", [...where, ...how], { env: { ...process.env, PGPASSWORD: password }, encoding: "utf8" }).trim();
}

await told(async ({ page, ready, step, look, make, list, workspace, organization, gateways, go, settled, signIn, answered, newKey, confirm }) => {
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

  const refused = rows.filter({ hasText: "Refused objects" });
  const credentials = await list(`${organization}/credentials`);
  const credential = credentials.items.find((it) => it.provider === "openai");
  // What the control plane sends of it, it reads anew with every change.
  const rename = async (name) => {
    const { version } = (await list(`${organization}/credentials`)).items.find((it) => it.id === credential.id);
    const answer = await fetch(`${ready.api_url}${organization}/credentials/${credential.id}`, {
      method: "PATCH",
      headers: { authorization: `Bearer ${ready.access_token}`, "content-type": "application/json" },
      body: JSON.stringify({ version, name }),
    });
    assert.equal(answer.status, 200, await answer.text());
  };
  const ofIt = `WHERE id = '${credential.id}' AND organization_id = '${ready.organization_id}'`;
  let sealed;

  await step("what a node refused is shown with the reason within two seconds of the change", async () => {
    sealed = sql(ready.database, `SELECT encode(secret_ciphertext, 'hex') FROM credentials ${ofIt}`);
    assert.ok(sealed.length > 60, "the credential is sealed");
    sql(ready.database, `UPDATE credentials SET secret_ciphertext = set_byte(secret_ciphertext, 20, get_byte(secret_ciphertext, 20) # 1) ${ofIt}`);
    const changed = performance.now();
    await rename("damaged on the disk");
    await until("all nodes refuse it", async () => (await refused.count()) === gateways.length);
    const took = Math.round(performance.now() - changed);
    assert.ok(took < REFUSAL_WITHIN_MS, `shown only ${took} ms after the change`);
    await refused.first().locator(".row-open").click();
    const panel = page.getByRole("dialog").filter({ hasText: "Certificate ends" });
    await panel.getByText(/^Refused objects of revision \d+ at /).waitFor();
    await panel.getByText(`credential/${credential.id}`).waitFor();
    await panel.getByText(/secret\.unopenable/).first().waitFor();
    await look("node-refused");
    // Whatever else changes is in force: a new key reaches the nodes, and calls that do not need the credential go on.
    const body = { environment_id: ready.environments.development, name: "made meanwhile" };
    const { secret: another } = await make(`${workspace}/virtual-keys`, body);
    await answered(200, another, { model: "echo/echo-1" }, gateways[0]);
  });

  await step("a refusal goes when its object is mended", async () => {
    const panel = page.getByRole("dialog").filter({ hasText: "Certificate ends" });
    sql(ready.database, `UPDATE credentials SET secret_ciphertext = decode('${sealed}', 'hex') ${ofIt}`);
    await rename(credential.name);
    await panel.getByText(/^Refused objects/).first().waitFor({ state: "detached" });
    await panel.getByText("In step").waitFor();
    await page.keyboard.press("Escape");
    await until("all nodes in step", async () => (await rows.filter({ hasText: "In step" }).count()) === gateways.length);
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
