// The console as a person uses it: sign in, create a key, call the gateway with it, see the call and its cost, find it in the
// audit log, revoke the key. Every page is photographed in both themes and both widths, and checked by axe.

import assert from "node:assert/strict";
import { story } from "./browser.mjs";

// More than one page of the server and more than the table draws.
const MANY = 450;
const KEY_NAME = `story-${Date.now().toString(36)}`;

await story(async ({ page, ready, step, shot, axe }) => {
  const gateway = ready.gateway_url.replace(/\/$/, "");
  const workspace = `/workspaces/${ready.workspace_id}`;
  const organization = `/organizations/${ready.organization_id}`;
  let secret;
  let body;

  const go = async (place, heading) => {
    await page.goto(new URL(place, ready.console_url).href);
    await page.getByRole("heading", { level: 1, name: heading }).waitFor();
  };
  const settled = () => page.locator(".skeleton").first().waitFor({ state: "detached" });
  const call = (key) =>
    fetch(`${gateway}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body,
    });

  await step("a stranger is asked to sign in", async () => {
    await page.goto(ready.console_url);
    await page.getByRole("heading", { name: "Sign in to Headgate" }).waitFor();
    await shot("sign-in");
    await axe("sign-in");
  });

  await step("a wrong password is refused in words", async () => {
    await page.getByLabel("E-mail").fill(ready.admin_email);
    await page.getByLabel("Password").fill("not the password");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.locator(".form-error").waitFor();
  });

  await step("signing in leads to the overview", async () => {
    await page.getByLabel("Password").fill(ready.admin_password);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
  });

  await step("a key is created and its secret shown once", async () => {
    await go(`${workspace}/keys`, "Virtual keys");
    await page.getByTestId("create-key").click();
    await page.getByLabel("Name", { exact: true }).fill(KEY_NAME);
    await shot("key-form");
    await axe("key-form");
    await page.getByTestId("create-key-dialog").getByRole("button", { name: "Create key" }).click();
    secret = (await page.getByTestId("secret").innerText()).trim();
    assert.match(secret, /^hgk_/);
    await page.getByTestId("first-call").getByText("Waiting for the first call").waitFor();
    await page.getByRole("tab", { name: "Python" }).click();
    await page.getByRole("tab", { name: "curl" }).click();
    await page.getByTestId("issued-key").getByText("/v1/chat/completions").first().waitFor();
    // Until the workspace's models are there, the snippet names the built-in echo; this story wants the upstream's.
    await page.getByRole("region", { name: "curl" }).filter({ hasNotText: "echo/echo-1" }).waitFor();
    const snippet = await page.getByRole("region", { name: "curl" }).innerText();
    assert.ok(snippet.includes(gateway) && snippet.includes(secret), "the snippet is for this gateway and this key");
    body = /-d '(.*)'/s.exec(snippet)[1];
    await axe("key-issued");
  });

  await step("a call with the key turns the waiting line green", async () => {
    let answer;
    // The key travels to the node first; a second is what it may take.
    for (let tries = 0; tries < 40 && answer?.status !== 200; tries += 1) {
      answer = await call(secret);
      if (answer.status !== 200) await page.waitForTimeout(100);
    }
    assert.equal(answer.status, 200, await answer.text());
    await page.getByTestId("first-call").getByText("First call received").waitFor();
    await shot("key-issued");
  });

  await step("the secret is gone from the document", async () => {
    await page.getByRole("button", { name: "I have saved it" }).click();
    await page.getByTestId("secret").waitFor({ state: "detached" });
    assert.ok(!(await page.content()).includes(secret));
  });

  await step("the call is in the request log with its cost", async () => {
    await go(`${workspace}/requests`, "Requests");
    await page.locator("tbody .row-open").first().click();
    const panel = page.getByTestId("request-panel");
    await panel.getByText("Where the time went").waitFor();
    await panel.getByRole("rowheader", { name: "Cost" }).waitFor();
    assert.ok((await panel.innerText()).includes(KEY_NAME), "the panel names the key");
    // Stages with their times, the target that was tried, and every kind of token with its rate.
    const stages = await panel.getByTestId("waterfall").innerText();
    assert.match(stages, /Admitted and routed[\s\S]*1 · openai, to first byte[\s\S]*Last byte/);
    await panel.getByText(/in Headgate itself/).waitFor();
    await panel.getByTestId("routing").getByText("Answered", { exact: true }).waitFor();
    await panel.getByTestId("bill").getByText(/× .* \/ M/).first().waitFor();
    await panel.getByText("As code").click();
    const code = await panel.getByRole("region", { name: "curl" }).innerText();
    assert.match(code, /^curl '.*\/logs\/req_.*\$HEADGATE_TOKEN"/s, "the call that reads it, with no secret");
    await shot("request");
    await axe("request");
  });

  await step("the log is narrowed by what is exactly meant", async () => {
    await go(`${workspace}/requests`, "Requests");
    await page.getByTestId("filters").click();
    await page.getByLabel("Provider", { exact: true }).fill("nobody");
    await axe("request-filters");
    await page.getByRole("button", { name: "Apply" }).click();
    await page.getByText("No requests match").waitFor();
    assert.match(page.url(), /provider=nobody/);
    await page.getByRole("button", { name: "No longer filter by provider" }).click();
    await page.locator("tbody .row-open").first().waitFor();
  });

  await step("a route is made as a tree, called, and tried on the last requests", async () => {
    await go(`${workspace}/routes?new=1`, "Routes");
    const dialog = page.getByRole("dialog", { name: "New route" });
    await dialog.getByLabel("Model name").fill("story-route");
    const editor = dialog.getByTestId("tree-editor");
    const offered = await editor.getByLabel("Deployment").locator("option").allInnerTexts();
    // Models that talk: some of the name draw, or hold sessions.
    const chat = offered.filter((text) => /^gpt-\d/.test(text));
    await editor.getByLabel("Deployment").selectOption({ label: chat[0] });
    await editor.getByRole("button", { name: "Add a target" }).click();
    await editor.getByLabel("Strategy").selectOption("canary");
    await editor.getByLabel("Deployment").nth(1).selectOption({ label: chat[1] });
    await editor.getByLabel("Percent of calls").fill("20");
    await editor.getByLabel("Percent of calls").press("Tab");
    await editor.getByText("new, 20%").waitFor();
    await shot("route-tree-form");
    await axe("route-tree-form");
    await dialog.getByRole("button", { name: "Create route" }).click();
    const card = page.getByRole("region", { name: "Route story-route" });
    await card.getByText("Canary 20%").waitFor();
    let answer;
    for (let tries = 0; tries < 40 && answer?.status !== 200; tries += 1) {
      answer = await fetch(`${gateway}/v1/chat/completions`, {
        method: "POST",
        headers: { authorization: `Bearer ${secret}`, "content-type": "application/json" },
        body: JSON.stringify({ model: "story-route", messages: [{ role: "user", content: "hello" }] }),
      });
      if (answer.status !== 200) await page.waitForTimeout(100);
    }
    assert.equal(answer.status, 200, await answer.text());
    await card.getByRole("button", { name: "Edit" }).click();
    const edit = page.getByRole("dialog", { name: "Edit route" });
    await edit.getByTestId("tree-editor").getByLabel("Percent of calls").fill("50");
    await edit.getByTestId("tree-editor").getByLabel("Percent of calls").press("Tab");
    await edit.getByText("As code").first().click();
    const code = edit.getByLabel("Tree and rules");
    assert.equal(JSON.parse(await code.inputValue()).tree.percent, 50);
    await code.fill("not code");
    await code.blur();
    await edit.getByText(/Not taken over/).waitFor();
    await axe("route-edit");
    await edit.getByRole("button", { name: "Save route" }).click();
    await card.getByText("Canary 50%").waitFor();
  });

  await step("the call is in the sums of the overview", async () => {
    await go(`${workspace}/overview`, "Overview");
    await page.waitForFunction(() => Number(document.querySelector("[data-testid=stat-requests] .stat-value")?.firstChild?.textContent) > 0);
  });

  await step("usage names the key", async () => {
    await go(`${workspace}/usage?by=virtual_key`, "Usage");
    await page.getByRole("cell", { name: KEY_NAME }).first().waitFor();
  });

  await step("the palette goes anywhere", async () => {
    await page.keyboard.press("Control+k");
    await page.getByRole("combobox", { name: "Search pages and commands" }).fill("audit");
    await axe("palette");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name: "Audit" }).waitFor();
  });

  await step("the audit log says who issued the key, and holds", async () => {
    await page.getByTestId("audit-verification").getByText(/verified/).waitFor();
    const line = page.getByRole("button", { name: new RegExp(`issued virtual key ${KEY_NAME}`) });
    await line.click();
    await page.getByText("What changed").waitFor();
    await shot("audit-entry");
    await axe("audit-entry");
  });

  await step("a change of policy is marked on the charts and leads to its entry", async () => {
    await page.goto(new URL(`${workspace}/overview`, ready.console_url).href);
    const mark = page.locator(".chart-mark a").first();
    await mark.waitFor();
    assert.match(await mark.getAttribute("title"), /deployment|route|credential|price/);
    await mark.click();
    await page.getByRole("heading", { level: 1, name: "Audit" }).waitFor();
    await page.getByText("Place in the chain").waitFor();
  });

  await step("a price has its own rates for long contexts", async () => {
    await go(`${organization}/models?q=gpt-4o-mini`, "Models & prices");
    await page.locator("tbody .row-open").first().click();
    await page.getByTestId("set-price").click();
    const dialog = page.getByTestId("price-dialog");
    await dialog.getByTestId("add-long-context").click();
    const tier = dialog.getByTestId("long-context");
    await tier.getByLabel("Above so many tokens of input").fill("200,000");
    await tier.getByLabel("Input", { exact: true }).fill("0.30");
    await tier.getByLabel("Output", { exact: true }).fill("1.20");
    await shot("price-form");
    await axe("price-form");
    await dialog.getByRole("button", { name: "Set price" }).click();
    await page.getByText("Above 200,000 tokens of input").waitFor();
  });

  await step("a node group is renamed", async () => {
    await go(`${organization}/nodes?tab=groups`, "Nodes");
    await page.locator("tbody .row-open").first().click();
    const dialog = page.getByTestId("group-dialog");
    await dialog.getByLabel("Region").fill("eu-central-1");
    await axe("group-form");
    await dialog.getByRole("button", { name: "Save group" }).click();
    await page.getByRole("cell", { name: "eu-central-1" }).waitFor();
  });

  await step("a person is disabled after a question, and enabled again", async () => {
    await go(`${organization}/members`, "Members & roles");
    await page.getByTestId("add-member").click();
    await page.getByLabel("E-mail").fill("ada@example.com");
    await page.getByLabel("Name", { exact: true }).fill("Ada Lovelace");
    await page.getByRole("dialog").getByRole("button", { name: "Add member" }).click();
    await page.getByTestId("secret").waitFor();
    await page.getByRole("button", { name: "Done" }).click();
    await page.getByRole("button", { name: "Ada Lovelace" }).click();
    await page.getByTestId("disable-member").click();
    // Access tokens end for good with it, so it is asked before and not undone after.
    const question = page.getByTestId("confirm");
    await question.getByText("Access tokens are revoked for good").waitFor();
    await shot("member-disable");
    await axe("member-disable");
    await question.getByRole("textbox").fill("ada@example.com");
    await question.getByRole("button", { name: "Disable member" }).click();
    await page.getByTestId("enable-member").waitFor();
    assert.equal(await page.getByRole("button", { name: "Undo" }).count(), 0, "nothing is offered that cannot be done");
    await page.getByTestId("enable-member").click();
    await page.getByTestId("disable-member").waitFor();
  });

  await step("a new password for a person is shown once", async () => {
    await page.getByTestId("reset-password").click();
    await page.getByTestId("confirm-reset").click();
    const password = (await page.getByTestId("secret").innerText()).trim();
    assert.ok(password.length >= 12);
    await axe("one-time-password");
    await page.getByRole("button", { name: "Done" }).click();
    await page.getByTestId("secret").waitFor({ state: "detached" });
    assert.ok(!(await page.content()).includes(password));
  });

  await step("a link leads to a model beyond the first page of the catalog", async () => {
    const list = async (query) => {
      const headers = { authorization: `Bearer ${ready.access_token}` };
      return (await fetch(`${ready.api_url}/organizations/${ready.organization_id}/models?limit=200${query}`, { headers })).json();
    };
    const first = await list("");
    const { items } = await list(`&cursor=${encodeURIComponent(first.next_cursor)}`);
    const { provider, upstream_model: model } = items.at(-1);
    await go(`${organization}/models?model=${encodeURIComponent(`${provider}/${model}`)}`, "Models & prices");
    await page.getByTestId("model-panel").getByText("Price now").waitFor();
    await page.getByTestId("model-panel").locator("dd code", { hasText: model }).first().waitFor();
    await go(`${organization}/models?model=${encodeURIComponent("openai/no-such-model")}`, "Models & prices");
    await page.getByTestId("model-panel").getByText("Not in the catalog").waitFor();
  });

  await step("a deployment's model is searched for in the whole catalog", async () => {
    await go(`${workspace}/routes?tab=deployments&new=1`, "Routes");
    const dialog = page.getByRole("dialog", { name: "New deployment" });
    await dialog.getByLabel("Provider").selectOption("openai");
    const model = dialog.getByRole("combobox", { name: "Upstream model" });
    await model.pressSequentially("4o-min");
    const option = dialog.getByRole("option", { name: /gpt-4o-mini/ }).first();
    await option.waitFor();
    await shot("deployment-form");
    await axe("deployment-form");
    await model.press("ArrowDown");
    await model.press("Enter");
    assert.match(await model.inputValue(), /^gpt-4o-mini/);
    await model.press("Escape");
    await dialog.waitFor({ state: "detached" });
  });

  const pages = [
    ["overview", `${workspace}/overview`, "Overview"],
    ["overview-hour", `${workspace}/overview?range=1h`, "Overview"],
    ["requests", `${workspace}/requests`, "Requests"],
    ["keys", `${workspace}/keys`, "Virtual keys"],
    ["routes", `${workspace}/routes`, "Routes"],
    ["route-form", `${workspace}/routes?new=1`, "Routes"],
    ["deployments", `${workspace}/routes?tab=deployments`, "Routes"],
    ["budgets", `${workspace}/budgets`, "Budgets"],
    ["rate-limits", `${workspace}/rate-limits`, "Rate limits"],
    ["usage", `${workspace}/usage`, "Usage"],
    ["members", `${organization}/members`, "Members & roles"],
    ["roles", `${organization}/members?tab=roles`, "Members & roles"],
    ["credentials", `${organization}/credentials`, "Credentials"],
    ["models", `${organization}/models`, "Models & prices"],
    ["prices", `${organization}/models?tab=prices`, "Models & prices"],
    ["providers", `${organization}/models?tab=providers`, "Models & prices"],
    ["ledger", `${organization}/ledger`, "Ledger"],
    ["rerate", `${organization}/ledger?tab=rerate`, "Ledger"],
    ["kill-switches-lifted", `${organization}/kill-switches?show=all`, "Kill switches"],
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
  for (const [name, place, heading] of pages) {
    await step(`page ${name}`, async () => {
      await go(place, heading);
      await settled();
      assert.equal(await page.getByText("This could not be loaded").count(), 0, "nothing failed to load");
      await shot(name);
      await axe(name);
      const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.equal(wider, 0, "the page does not scroll sideways");
    });
  }

  await step("a long list keeps few rows in the document and shows all of them", async () => {
    const create = (name) =>
      fetch(`${ready.api_url}/workspaces/${ready.workspace_id}/virtual-keys`, {
        method: "POST",
        headers: { authorization: `Bearer ${ready.access_token}`, "content-type": "application/json" },
        body: JSON.stringify({ name, environment_id: ready.environments.staging }),
      });
    for (let from = 0; from < MANY; from += 25) {
      const answers = await Promise.all(Array.from({ length: 25 }, (_, at) => create(`many-${String(from + at).padStart(4, "0")}`)));
      assert.ok(answers.every((answer) => answer.status === 201));
    }
    await go(`${workspace}/keys?env=staging`, "Virtual keys");
    await page.getByRole("button", { name: `many-0${MANY - 1}` }).waitFor();
    const first = page.getByRole("button", { name: "many-0000" });
    for (let tries = 0; tries < 100 && (await first.count()) === 0; tries += 1) {
      await page.evaluate(() => window.scrollTo(0, document.documentElement.scrollHeight));
      await page.waitForTimeout(50);
    }
    await first.waitFor();
    await page.getByText(`All ${MANY} shown`).waitFor();
    const n_rows = await page.locator("tbody tr[data-key]").count();
    assert.ok(n_rows < 150, `${n_rows} rows are drawn`);
    await axe("long-list");
    await page.evaluate(() => window.scrollTo(0, 0));
    await page.getByLabel("Filter").fill("many-0007");
    await page.getByRole("button", { name: "many-0007" }).waitFor();
    assert.equal(await page.locator("tbody tr[data-key]").count(), 1);
  });

  await step("a view is in the address, and is kept under a name", async () => {
    assert.match(page.url(), /[?&]q=many-0007/);
    await page.getByTestId("views").click();
    await page.getByLabel("Name of the view").fill("seventh");
    await axe("views");
    await page.getByRole("button", { name: "Save", exact: true }).click();
    await page.getByRole("link", { name: "seventh" }).waitFor();
    await go(`${workspace}/keys`, "Virtual keys");
    await page.getByTestId("views").click();
    await page.getByRole("link", { name: "seventh" }).click();
    await page.waitForURL(/env=staging.*q=many-0007|q=many-0007.*env=staging/);
    await page.getByRole("button", { name: "many-0007" }).waitFor();
  });

  await step("an address that leads nowhere says so", async () => {
    await page.goto(new URL("/nowhere", ready.console_url).href);
    await page.getByText("This page does not exist").waitFor();
  });

  await step("the key is revoked after its name was typed", async () => {
    // Many keys are newer: the filter in the address looks through all of them.
    await go(`${workspace}/keys?q=${KEY_NAME}`, "Virtual keys");
    await page.getByRole("button", { name: KEY_NAME }).click();
    await page.getByTestId("revoke-key").click();
    const dialog = page.getByTestId("confirm");
    await dialog.getByText("This cannot be undone").waitFor();
    const confirm = dialog.getByRole("button", { name: "Revoke key" });
    assert.ok(await confirm.isDisabled());
    await dialog.getByRole("textbox").fill(KEY_NAME);
    await shot("key-revoke");
    await axe("key-revoke");
    await confirm.click();
    await page.getByTestId("key-panel").getByText("Revoked").first().waitFor();
  });

  await step("the gateway refuses the revoked key", async () => {
    let answer;
    for (let tries = 0; tries < 40 && answer?.status !== 401; tries += 1) {
      answer = await call(secret);
      if (answer.status !== 401) await page.waitForTimeout(100);
    }
    assert.equal(answer.status, 401);
    assert.ok((await answer.text()).includes("key_revoked"));
  });

  await step("the keyboard alone reaches the content", async () => {
    await go(`${workspace}/keys`, "Virtual keys");
    await page.keyboard.press("Tab");
    await page.getByRole("link", { name: "Skip to content" }).waitFor();
    assert.equal(await page.evaluate(() => document.activeElement?.textContent), "Skip to content");
  });

  await step("signing out ends the session", async () => {
    await page.getByTestId("user-menu").click();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("heading", { name: "Sign in to Headgate" }).waitFor();
    await page.goto(new URL(`${workspace}/keys`, ready.console_url).href);
    await page.getByRole("heading", { name: "Sign in to Headgate" }).waitFor();
  });
});
