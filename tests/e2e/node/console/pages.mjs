// Every page of the console with things on it, in both themes and widths; then lists that are long, views that are kept under a
// name, and what is marked on charts.

import { assert, pagesOf, told, until } from "./person.mjs";

// More than one page of the server and more than the table draws.
const MANY = 450;

await told(async ({ page, ready, step, look, axe, workspace, organization, at, go, settled, signIn, make, answered }) => {
  await signIn();

  await step("calls are made, so that there is something to see", async () => {
    for (const model of ["gpt-4o-mini", "gpt-4o", "gpt-4o-mini"]) await answered(200, ready.virtual_key, { model });
    await go(`${workspace}/overview`, "Overview");
    await page.waitForFunction(() => Number(document.querySelector("[data-testid=stat-requests] .stat-value")?.firstChild?.textContent) >= 3);
  });

  await step("an overview that is left open shows new calls in its figures and its chart", async () => {
    const n_more = 5;
    await go(`${workspace}/overview?range=1h`, "Overview");
    const chart = page.locator("figure.chart-tall");
    await chart.getByText("Show as table").click();
    const numberOf = (texts) => texts.reduce((sum, text) => sum + Number(text.replaceAll(/\D/g, "")), 0);
    const charted = async () => numberOf(await chart.locator("tbody td").allInnerTexts());
    const figure = async () => numberOf([await page.getByTestId("stat-requests").locator(".stat-value").evaluate((it) => it.firstChild.textContent)]);
    const before = await until("the calls so far, in both", async () => {
      const [inChart, inFigure] = [await charted(), await figure()];
      return inChart >= 3 && inChart === inFigure && inChart;
    });
    await page.evaluate(() => (window.isStillTheSame = true));
    for (let n = 0; n < n_more; n += 1) await answered(200, ready.virtual_key);
    await until("the new calls in the chart", async () => (await charted()) === before + n_more);
    await until("the new calls in the figure", async () => (await figure()) === before + n_more);
    assert.ok(await page.evaluate(() => window.isStillTheSame), "nobody navigated or reloaded");
  });

  const more = [
    ["route-form", `${workspace}/routes?new=1`, "Routes"],
    ["roles", `${organization}/members?tab=roles`, "Members & roles"],
    ["rerate", `${organization}/ledger?tab=rerate`, "Ledger"],
  ];
  for (const [name, place, heading] of [...pagesOf(workspace, organization), ...more]) {
    await step(`page ${name}`, async () => {
      await go(place, heading);
      await settled();
      assert.equal(await page.getByText("This could not be loaded").count(), 0, "nothing failed to load");
      await look(name);
    });
  }

  await step("links change the address, the way back leads back, and a reload stays", async () => {
    await go(`${workspace}/overview`, "Overview");
    const places = page.getByRole("complementary", { name: "Places" });
    for (const [title, slug] of [["Requests", "requests"], ["Virtual keys", "keys"], ["Nodes", "nodes"]]) {
      await places.getByRole("link", { name: title, exact: true }).click();
      await at(title);
      await page.waitForURL((url) => url.pathname.endsWith(`/${slug}`));
    }
    await page.goBack();
    await at("Virtual keys");
    await page.goBack();
    await at("Requests");
    assert.ok(new URL(page.url()).pathname.endsWith("/requests"));
    await page.reload();
    await at("Requests");
  });

  await step("a change of policy is marked on the charts and leads to its entry", async () => {
    await go(`${workspace}/overview`, "Overview");
    const mark = page.locator(".chart-mark a").first();
    await mark.waitFor();
    assert.match(await mark.getAttribute("title"), /deployment|route|credential|price/);
    await mark.click();
    await page.getByRole("heading", { level: 1, name: "Audit" }).waitFor();
    await page.getByText("Place in the chain").waitFor();
  });

  await step("a long list keeps few rows in the document and shows all of them", async () => {
    for (let from = 0; from < MANY; from += 25) {
      const names = Array.from({ length: 25 }, (_, at) => `many-${String(from + at).padStart(4, "0")}`);
      const keys = `/workspaces/${ready.workspace_id}/virtual-keys`;
      await Promise.all(names.map((name) => make(keys, { name, environment_id: ready.environments.staging })));
    }
    await go(`${workspace}/keys?env=staging`, "Virtual keys");
    await page.getByRole("button", { name: `many-0${MANY - 1}` }).waitFor();
    const first = page.getByRole("button", { name: "many-0000" });
    await until("the oldest key", async () => {
      await page.evaluate(() => window.scrollTo(0, document.documentElement.scrollHeight));
      return (await first.count()) > 0;
    });
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
    await axe("nowhere");
  });
});
