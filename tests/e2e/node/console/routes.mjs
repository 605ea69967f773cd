// Where calls go: a credential and its new secret, a deployment, a route as a tree that is tried on the last requests, and prices.

import { assert, told, until } from "./person.mjs";

const NAME = `route-${Date.now().toString(36)}`;

await told(async ({ page, ready, step, look, axe, workspace, organization, go, signIn, list, answered, confirm }) => {
  await signIn();

  await step("a credential is stored, and its secret replaced without being shown", async () => {
    await go(`${organization}/credentials`, "Credentials");
    await page.getByTestId("add-credential").click();
    const dialog = page.getByRole("dialog", { name: "Add a credential" });
    await dialog.getByRole("button", { name: "Add credential" }).click();
    await dialog.getByText("Choose a provider.").or(dialog.locator(":invalid")).first().waitFor();
    await dialog.getByLabel("Provider").selectOption({ label: "Anthropic" });
    await dialog.getByLabel("Name", { exact: true }).fill("Second account");
    await dialog.getByLabel("API key").fill("sk-first-secret-0000001111");
    await look("credential-form");
    await dialog.getByRole("button", { name: "Add credential" }).click();
    const row = page.getByRole("row").filter({ hasText: "Second account" });
    await row.getByText("…1111").waitFor();
    await row.getByRole("button", { name: "Second account" }).click();
    const panel = page.getByRole("dialog", { name: "Second account" });
    await panel.getByText("…1111").waitFor();
    await look("credential");
    await panel.getByRole("button", { name: "Edit or replace the secret" }).click();
    const edit = page.getByRole("dialog", { name: "Edit credential" });
    assert.equal(await edit.getByLabel("New API key").inputValue(), "", "what is stored is not shown");
    await edit.getByLabel("Base URL").fill("https://elsewhere.example.com");
    await edit.getByRole("button", { name: "Save" }).click();
    // Another origin wants the secret again.
    await edit.locator(".form-error, .field-error").first().waitFor();
    await axe("credential-edit");
    await edit.getByLabel("New API key").fill("sk-other-secret-0000002222");
    await edit.getByRole("button", { name: "Save" }).click();
    await edit.waitFor({ state: "detached" });
    await panel.getByText("…2222").waitFor();
    assert.ok(!(await page.content()).includes("sk-other-secret"));
    await panel.getByRole("button", { name: "Archive" }).click();
    await confirm("Second account", "Archive credential");
    await row.waitFor({ state: "detached" });
  }, /status of 4\d\d/);

  await step("a deployment's model is searched for in the whole catalog", async () => {
    await go(`${workspace}/routes?tab=deployments&new=1`, "Routes");
    const dialog = page.getByRole("dialog", { name: "New deployment" });
    await dialog.getByLabel("Provider").selectOption("openai");
    const model = dialog.getByRole("combobox", { name: "Upstream model" });
    await model.pressSequentially("4o-min");
    await dialog.getByRole("option", { name: /gpt-4o-mini/ }).first().waitFor();
    await look("deployment-form");
    await model.press("ArrowDown");
    await model.press("Enter");
    assert.match(await model.inputValue(), /^gpt-4o-mini/);
    await model.press("Escape");
    await dialog.waitFor({ state: "detached" });
  });

  const card = page.getByRole("region", { name: `Route ${NAME}` });

  await step("a route is made as a tree, and called", async () => {
    await go(`${workspace}/routes?new=1`, "Routes");
    const dialog = page.getByRole("dialog", { name: "New route" });
    await dialog.getByLabel("Model name").fill(NAME);
    const editor = dialog.getByTestId("tree-editor");
    const target = editor.getByLabel("Deployment");
    // The deployments are on their way.
    await target.first().locator("option", { hasText: /^gpt-4o \(/ }).waitFor({ state: "attached" });
    await target.first().selectOption({ label: "gpt-4o (openai)" });
    await editor.getByRole("button", { name: "Add a target" }).click();
    await editor.getByLabel("Strategy").selectOption("canary");
    await target.nth(1).selectOption({ label: "gpt-4o-mini (openai)" });
    await editor.getByLabel("Percent of calls").fill("20");
    await editor.getByLabel("Percent of calls").press("Tab");
    await editor.getByText("new, 20%").waitFor();
    await look("route-tree-form");
    await dialog.getByRole("button", { name: "Create route" }).click();
    await card.getByText("Canary 20%").waitFor();
    const shares = await card.locator(".tree-branch").evaluateAll((all) => all.map((it) => it.style.getPropertyValue("--share")));
    assert.deepEqual(shares, ["0.200", "0.800"], "branches are drawn as thick as their share");
    await answered(200, ready.virtual_key, { model: NAME });
    await until("the call in the log", async () => {
      const log = await list(`/workspaces/${ready.workspace_id}/logs?model=${NAME}`);
      return log.items?.length > 0;
    });
  });

  await step("its rules are set by hand, and are what the API has", async () => {
    const ruled = `ruled-${NAME.slice(6)}`;
    await go(`${workspace}/routes?new=1`, "Routes");
    const dialog = page.getByRole("dialog", { name: "New route" });
    await dialog.getByLabel("Model name").fill(ruled);
    const editor = dialog.getByTestId("tree-editor");
    await editor.getByLabel("Deployment").first().locator("option", { hasText: /^gpt-4o \(/ }).waitFor({ state: "attached" });
    await editor.getByLabel("Deployment").first().selectOption({ label: "gpt-4o (openai)" });
    await editor.getByRole("button", { name: "Add a target" }).click();
    await editor.getByLabel("Strategy").selectOption("lowest_latency");
    await editor.getByLabel("Fastest by").selectOption("per_token");
    await editor.getByRole("button", { name: "Add a group" }).click();
    await editor.getByLabel("Strategy").nth(1).selectOption("consistent_hash");
    await editor.getByLabel("Sticky by").selectOption("conversation");
    await editor.getByLabel("Sticky by").selectOption("header");
    await editor.getByLabel("Name of the header").fill("X-Customer");
    await editor.getByLabel("Name of the header").press("Tab");
    for (const target of [1, 2]) await editor.getByLabel("Deployment").nth(target).selectOption({ label: "gpt-4o-mini (openai)" });
    const open = (fold) => dialog.getByText(fold, { exact: true }).click();
    const set = async (label, value) => {
      await dialog.getByLabel(label).fill(value);
      await dialog.getByLabel(label).press("Tab");
    };
    await open("After a failure");
    await dialog.getByLabel("After a timeout").selectOption({ label: "gpt-4o (openai)" });
    await dialog.getByLabel("When the content is refused").selectOption({ label: "End the call" });
    await open("Streams, hedges and retries");
    await dialog.getByLabel("When a stream breaks off").selectOption("continue");
    await set("Hedge after (ms)", "800");
    await set("Retries at once", "7");
    await set("Retries a second", "3");
    await set("Sign of life every (ms)", "30000");
    await set("Slow start (ms)", "5000");
    await open("Copies and cache");
    await dialog.getByLabel("Copies of calls go to").selectOption({ label: "gpt-4o-mini (openai)" });
    await set("Percent of calls copied", "25");
    await dialog.getByLabel("The same answer again").selectOption("on_request");
    await set("For how long (s)", "60");
    await dialog.getByLabel("Who shares answers").selectOption("environment");
    await open("Requests");
    await dialog.getByLabel("What keeps a call on one deployment").selectOption("prefix");
    await dialog.getByLabel("Requests may choose a target").selectOption("refused");
    await look("route-rules-form");
    await dialog.getByRole("button", { name: "Create route" }).click();
    await page.getByRole("region", { name: `Route ${ruled}` }).waitFor();
    const routes = await list(`/workspaces/${ready.workspace_id}/routes`);
    const { tree, rules } = routes.items.find((route) => route.name === ruled);
    assert.equal(tree.measure, "per_token");
    assert.deepEqual(tree.children[2].by, { kind: "header", name: "x-customer" });
    const of = (kind) => rules.fallbacks.find((fallback) => fallback.on === kind);
    assert.equal(of("timeout").to.length, 1);
    assert.equal(of("content_filter").stop, true);
    assert.equal(rules.on_stream_failure, "continue");
    assert.deepEqual(rules.hedge, { after_ms: 800 });
    assert.deepEqual(rules.retry_budget, { burst: 7, per_second: 3 });
    assert.deepEqual([rules.probe_interval_ms, rules.slow_start_ms], [30000, 5000]);
    assert.equal(rules.shadow.percent, 25);
    assert.deepEqual([rules.cache.mode, rules.cache.ttl_s, rules.cache.scope], ["on_request", 60, "environment"]);
    assert.deepEqual([rules.affinity, rules.overrides], ["prefix", "refused"]);
  });

  await step("a change of it is tried on the last requests, then saved", async () => {
    await go(`${workspace}/routes`, "Routes");
    await card.getByRole("button", { name: "Edit" }).click();
    const edit = page.getByRole("dialog", { name: "Edit route" });
    const percent = edit.getByTestId("tree-editor").getByLabel("Percent of calls");
    await percent.fill("50");
    await percent.press("Tab");
    const dry = edit.getByRole("region", { name: "Dry run" });
    await dry.getByLabel("How many requests").selectOption("50");
    await dry.getByRole("button", { name: "Try it" }).click();
    const sums = dry.getByTestId("dry-run");
    await sums.getByRole("row").filter({ hasText: "gpt-4o-mini" }).getByText(/^[45]\d(\.\d)?%$/).waitFor();
    await dry.getByText(/^Of the last 1 request\. /).waitFor();
    await dry.getByText(/^Each request; /).click();
    await dry.getByRole("group", { name: "Requests of the dry run" }).getByText(NAME).waitFor();
    await look("route-dry-run");
    await dry.getByLabel("Which requests").selectOption("all");
    await dry.getByRole("button", { name: "Try it" }).click();
    await dry.getByText(/^Of the last \d+ requests?\. /).waitFor();
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

  await step("nobody has called a new name: the dry run says so", async () => {
    await go(`${workspace}/routes?new=1`, "Routes");
    const dialog = page.getByRole("dialog", { name: "New route" });
    await dialog.getByLabel("Model name").fill(`${NAME}-unheard`);
    const target = dialog.getByLabel("Deployment", { exact: true });
    await target.locator("option", { hasText: /^gpt-4o \(/ }).waitFor({ state: "attached" });
    const dry = dialog.getByRole("region", { name: "Dry run" });
    await dry.getByRole("button", { name: "Try it" }).click();
    await dialog.getByText("Choose a deployment for every target.").waitFor();
    await target.selectOption({ label: "gpt-4o (openai)" });
    await dry.getByRole("button", { name: "Try it" }).click();
    await dry.getByText("No requests to try it on").waitFor();
    await axe("route-dry-run-empty");
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
    await look("price-form");
    await dialog.getByRole("button", { name: "Set price" }).click();
    await page.getByText("Above 200,000 tokens of input").waitFor();
    await look("model");
  });

  await step("a model is described, changed and forgotten", async () => {
    await go(`${organization}/models`, "Models & prices");
    await page.getByTestId("describe-model").click();
    const dialog = page.getByTestId("facts-dialog");
    await dialog.getByLabel("Provider").selectOption("openai_compatible");
    await dialog.getByLabel("Upstream model").fill("house-7b");
    await dialog.getByLabel("Context").fill("many");
    await dialog.getByRole("button", { name: "Save description" }).click();
    await dialog.getByText("Give a whole number").waitFor();
    await dialog.getByLabel("Context").fill("8,000");
    await dialog.getByLabel("Quantization").selectOption("int8");
    await dialog.getByLabel("reasoning").check();
    await look("model-facts");
    await axe("model-facts");
    await dialog.getByRole("button", { name: "Save description" }).click();
    const panel = page.getByTestId("model-panel");
    await panel.getByText("Your organization").waitFor();
    await panel.getByText("8,000 tokens").waitFor();
    const [own] = (await list(`/organizations/${ready.organization_id}/models?own=true`)).items;
    assert.deepEqual([own.upstream_model, own.facts.context_tokens, own.facts.quantization], ["house-7b", 8000, "int8"]);
    assert.ok(own.facts.capabilities.includes("reasoning") && own.facts.capabilities.includes("tools"));
    await panel.getByTestId("describe").click();
    await dialog.getByLabel("Longest output").fill("500");
    await dialog.getByRole("button", { name: "Save description" }).click();
    await panel.getByText("500 tokens").waitFor();
    await panel.getByRole("button", { name: "Forget description" }).click();
    await confirm("house-7b", "Forget description");
    await panel.waitFor({ state: "hidden" });
    assert.deepEqual((await list(`/organizations/${ready.organization_id}/models?own=true`)).items, []);
  });

  await step("a link leads to a model beyond the first page of the catalog", async () => {
    const models = `/organizations/${ready.organization_id}/models?limit=200`;
    const first = await list(models);
    const { items } = await list(`${models}&cursor=${encodeURIComponent(first.next_cursor)}`);
    const { provider, upstream_model: model } = items.at(-1);
    await go(`${organization}/models?model=${encodeURIComponent(`${provider}/${model}`)}`, "Models & prices");
    await page.getByTestId("model-panel").getByText("Price now").waitFor();
    await page.getByTestId("model-panel").locator("dd code", { hasText: model }).first().waitFor();
    await go(`${organization}/models?model=${encodeURIComponent("openai/no-such-model")}`, "Models & prices");
    await page.getByTestId("model-panel").getByText("Not in the catalog").waitFor();
  });
});
