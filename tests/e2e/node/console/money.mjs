// Money and limits by their forms: a hard budget of one key is spent to its end, raised, and spent on; a rate limit answers with
// when to come back; a kill switch stops the key within a second and lets it go on. What is typed wrongly is said at its field,
// and nothing that was typed is lost.

import { assert, told, until } from "./person.mjs";

const KEY = `spender-${Date.now().toString(36)}`;
const [BUDGET, LIMIT, TYPED] = [`Budget of ${KEY}`, `Limit of ${KEY}`, `Typed for ${KEY}`];
const WITHIN_MS = 1_000;
const MINUTE_S = 60;
const STEPS = 30;

await told(async (person) => {
  const { page, ready, step, look, axe, workspace, organization, gateways, go, signIn, call, answered, newKey, confirm } = person;
  const { press, type, focused, reach } = person;
  await signIn();
  const secret = await newKey(KEY);

  // What binds the key, as its node knows it; asking costs nothing.
  const limits = async () =>
    (await fetch(`${gateways[0]}/v1/headgate/limits`, { headers: { authorization: `Bearer ${secret}` } })).json();
  const bound = (what, is) => until(what, async () => is(await limits()));
  const refused = async (status, code) => {
    const answer = await call(secret);
    const text = await answer.text();
    assert.equal(answer.status, status, text);
    assert.equal(JSON.parse(text).error.code, code, text);
    return { answer, text };
  };
  // The error stands at its field: the field says that it is wrong, and is described by the sentence.
  const wrong = async (field, text) => {
    await until(`“${text}” at its field`, async () => {
      if ((await field.getAttribute("aria-invalid")) !== "true" || !(await field.isVisible())) return false;
      const ids = ((await field.getAttribute("aria-describedby")) ?? "").split(" ").filter(Boolean);
      const said = await Promise.all(ids.map((id) => page.locator(`#${id}`).innerText().catch(() => "")));
      return said.some((sentence) => text.test(sentence));
    });
  };
  const onlyKey = async (dialog) => {
    await dialog.getByText(/^Which calls count/).click();
    await dialog.getByRole("group", { name: "Virtual keys" }).getByRole("checkbox", { name: new RegExp(`^${KEY}`) }).check();
  };

  // === A hard budget ===

  const row = page.getByRole("article", { name: BUDGET });
  const panel = page.getByTestId("budget-panel");
  const edit = page.getByRole("dialog", { name: "Edit budget" });
  const amounts = (used, held, left) =>
    until(`used ${used}, held ${held}, left ${left}`, async () => {
      const text = (await row.innerText()).replaceAll(/\s+/g, " ");
      return text.includes(`used ${used} calls held ${held} calls left ${left} calls`);
    });

  await step("a budget that is typed wrongly says so at each field, and keeps the rest", async () => {
    await go(`${workspace}/budgets`, "Budgets");
    await page.getByTestId("create-budget").click();
    const dialog = page.getByTestId("budget-dialog");
    const create = dialog.getByRole("button", { name: "Create budget" });
    await dialog.getByLabel("Name", { exact: true }).fill(BUDGET);
    await dialog.getByLabel("Counts").selectOption({ label: "Calls" });
    await create.click();
    await dialog.getByText("Give an amount for at least one window.").waitFor();
    await dialog.getByLabel("Per day").fill("plenty");
    await create.click();
    await wrong(dialog.getByLabel("Per day"), /whole number/);
    await dialog.getByLabel("Per day").fill("3");
    await dialog.getByLabel("Alert at, in percent").fill("soon");
    await create.click();
    await wrong(dialog.getByLabel("Alert at, in percent"), /Give percents/);
    await dialog.getByLabel("Alert at, in percent").fill("80");
    // What is wrong in a folded part unfolds it.
    const counts = dialog.getByText(/^Which calls count/);
    await counts.click();
    await dialog.getByLabel("Metadata", { exact: false }).last().fill("no pair");
    await counts.click();
    await create.click();
    await wrong(dialog.getByLabel("Metadata", { exact: false }).last(), /Write name=value/);
    await look("budget-form-wrong");
    await dialog.getByLabel("Metadata", { exact: false }).last().fill("");
    await dialog.getByRole("group", { name: "Virtual keys" }).getByRole("checkbox", { name: new RegExp(`^${KEY}`) }).check();
    assert.equal(await dialog.getByLabel("Name", { exact: true }).inputValue(), BUDGET);
    assert.equal(await dialog.getByLabel("Per day").inputValue(), "3");
    await look("budget-form");
    await create.click();
    await dialog.getByLabel("Per day").waitFor({ state: "detached" });
    await row.getByText("Hard", { exact: true }).waitFor();
    await row.getByText(`Virtual keys: ${KEY}`).waitFor();
    await amounts(0, 0, 3);
  });

  await step("the key is served to the end of its budget and not beyond", async () => {
    await bound("the budget at the node", (it) => it.windows?.some((window) => window.budget === BUDGET));
    for (let n = 0; n < 3; n += 1) assert.equal((await call(secret)).status, 200);
    const { text } = await refused(402, "budget_exhausted");
    assert.ok(text.includes(BUDGET), text);
    await amounts(3, 0, 0);
    const used = row.locator(".budget-used");
    assert.equal(await used.evaluate((it) => it.style.width), "100%", "the bar is full");
    assert.ok(await row.locator(".budget-track.tone-danger").count(), "and says that nothing is left");
    await look("budget-spent");
  });

  const openBudget = async () => {
    await row.getByRole("button", { name: BUDGET }).click();
    await panel.getByText("How it stands now").waitFor();
  };

  await step("the budget is raised, and calls go on", async () => {
    await openBudget();
    await panel.getByRole("row").filter({ hasText: "100 %" }).or(panel.getByRole("cell", { name: "3 calls" })).first().waitFor();
    await look("budget");
    await panel.getByRole("button", { name: "Edit" }).click();
    assert.equal(await edit.getByLabel("Per day").inputValue(), "3");
    await edit.getByLabel("Per day").fill("4");
    await look("budget-edit");
    await edit.getByRole("button", { name: "Save" }).click();
    await edit.getByLabel("Per day").waitFor({ state: "detached" });
    await panel.getByText("4 calls per day").waitFor();
    await answered(200, secret);
    await refused(402, "budget_exhausted");
  });

  await step("more for a while wants an end and a reason, and calls go on", async () => {
    await panel.getByRole("button", { name: "Edit" }).click();
    await edit.getByText(/^More for a while/).click();
    await edit.getByLabel("How much more").fill("900");
    await edit.getByRole("button", { name: "Save" }).click();
    await wrong(edit.getByLabel("Until"), /Say until when/);
    const tomorrow = new Date(Date.now() + 86_400_000);
    const local = new Date(tomorrow.getTime() - tomorrow.getTimezoneOffset() * MINUTE_S * 1000).toISOString().slice(0, 16);
    await edit.getByLabel("Until").fill(local);
    await edit.getByRole("button", { name: "Save" }).click();
    await wrong(edit.getByLabel("Why"), /./);
    assert.equal(await edit.getByLabel("How much more").inputValue(), "900", "nothing is lost");
    await axe("budget-increase");
    await edit.getByLabel("Why").fill("Launch week");
    await edit.getByRole("button", { name: "Save" }).click();
    await edit.getByLabel("Per day").waitFor({ state: "detached" });
    await panel.getByText(/^900 calls, Launch week, until/).waitFor();
    await answered(200, secret);
    await press("Escape");
    await panel.getByText("How it stands now").waitFor({ state: "detached" });
    await amounts(5, 0, 899);
  }, /status of 4\d\d/);

  // === A rate limit ===

  const limited = page.getByRole("row").filter({ hasText: LIMIT });

  await step("a rate limit is made after what was wrong was said", async () => {
    await go(`${workspace}/rate-limits`, "Rate limits");
    await page.getByTestId("create-limit").click();
    const dialog = page.getByTestId("limit-dialog");
    await dialog.getByLabel("Name", { exact: true }).fill(LIMIT);
    await dialog.getByRole("button", { name: "Create rate limit" }).click();
    await wrong(dialog.getByLabel("At most"), /Give an amount/);
    await dialog.getByLabel("At most").fill("0");
    await dialog.getByRole("button", { name: "Create rate limit" }).click();
    await wrong(dialog.getByLabel("At most"), /./);
    await dialog.getByLabel("At most").fill("1");
    await onlyKey(dialog);
    assert.equal(await dialog.getByLabel("Name", { exact: true }).inputValue(), LIMIT, "nothing is lost");
    await look("rate-limit-form");
    await dialog.getByRole("button", { name: "Create rate limit" }).click();
    await dialog.getByLabel("At most").waitFor({ state: "detached" });
    await limited.getByText("1 requests per minute").waitFor();
    await limited.getByText(`Virtual keys: ${KEY}`).waitFor();
  }, /status of 4\d\d/);

  await step("the second call of a minute is told when to come back", async () => {
    await bound("the limit at the node", (it) => it.rate_limits?.some((limit) => limit.rate_limit === LIMIT));
    const before = Date.now();
    assert.equal((await call(secret)).status, 200);
    const { answer, text } = await refused(429, "rate_limited");
    assert.ok(text.includes(LIMIT), text);
    // The first call has left the span after a minute, and the span slides in thirtieths: whole seconds, rounded up.
    const wait = Number(answer.headers.get("retry-after"));
    const passed = (Date.now() - before) / 1000;
    assert.ok(wait <= MINUTE_S + MINUTE_S / STEPS && wait >= MINUTE_S - Math.ceil(passed), `${wait} s, ${passed} s after`);
  });

  await step("a rate limit that is switched off binds nothing", async () => {
    await limited.getByRole("button", { name: LIMIT }).click();
    const side = page.getByTestId("limit-panel");
    await look("rate-limit");
    await side.getByRole("button", { name: "Edit" }).click();
    const dialog = page.getByRole("dialog", { name: "Edit rate limit" });
    await dialog.getByText("Enabled").click();
    await dialog.getByRole("button", { name: "Save" }).click();
    await side.getByText("Off", { exact: true }).waitFor();
    await press("Escape");
    await answered(200, secret);
  });

  // === A kill switch ===

  const stopped = page.getByRole("row").filter({ hasText: KEY });

  await step("the key is stopped, and refused within a second", async () => {
    await go(`${organization}/kill-switches`, "Kill switches");
    await page.getByTestId("throw-switch").click();
    const dialog = page.getByTestId("throw-dialog");
    await dialog.getByTestId("review-switch").click();
    const key = dialog.getByLabel("Virtual key", { exact: true });
    await wrong(key, /Say what to stop/);
    await key.locator("option", { hasText: KEY }).waitFor({ state: "attached" });
    await key.selectOption({ value: await key.locator("option", { hasText: KEY }).getAttribute("value") });
    await dialog.getByTestId("review-switch").click();
    await wrong(dialog.getByLabel("Why"), /Say why/);
    await dialog.getByLabel("Why").fill("It runs away");
    await look("kill-switch-form");
    await dialog.getByTestId("review-switch").click();
    await dialog.getByText(/\d+ calls in the last 24 hours/).waitFor();
    // The way back keeps what was typed.
    await dialog.getByRole("button", { name: "Back" }).click();
    assert.equal(await dialog.getByLabel("Why").inputValue(), "It runs away");
    await dialog.getByTestId("review-switch").click();
    const button = dialog.getByTestId("stop-now");
    await dialog.getByRole("textbox").fill("something else");
    assert.ok(await button.isDisabled());
    await dialog.getByRole("textbox").fill(KEY);
    await look("kill-switch-sure");
    await page.waitForFunction((it) => !it.disabled, await button.elementHandle());
    const ended = answered(401, secret);
    const clicked = performance.now();
    const [answer] = await Promise.all([ended, button.click()]);
    assert.ok(answer.at - clicked < WITHIN_MS, `refused only ${Math.round(answer.at - clicked)} ms after the click`);
    await stopped.getByText("Stopped").waitFor();
    await stopped.getByText("It runs away").waitFor();
    await stopped.getByText(ready.admin_email).or(stopped.getByText("Admin")).first().waitFor();
    await page.getByText("1 thing is stopped").waitFor();
    await look("kill-switch");
  });

  await step("the switch is lifted, and the key goes on", async () => {
    await stopped.getByTestId("lift").click();
    await page.getByText("Nothing is stopped").waitFor();
    await answered(200, secret);
    await page.getByRole("button", { name: "Undo" }).click();
    await stopped.getByText("Stopped").waitFor();
    await answered(401, secret);
    await stopped.getByTestId("lift").click();
    await answered(200, secret);
  });

  // === By keyboard alone ===

  await step("a budget is made and archived by keyboard alone", async () => {
    await go(`${workspace}/budgets`, "Budgets");
    await page.getByRole("article", { name: BUDGET }).waitFor();
    await reach(/^Create budget$/);
    await press("Enter");
    await until("the focus in the first field", async () => /^Name/.test((await focused()).name));
    await type(TYPED);
    await reach(/^Counts/);
    await press("End");
    await reach(/^Per day/);
    await type("much");
    await press("Enter");
    await page.getByTestId("budget-dialog").getByText("Give a whole number.").waitFor();
    assert.match((await focused()).name, /^Per day/, "the focus is where it is to be put right");
    await press("Control+a");
    await type("7");
    await reach(/^Which calls count/);
    await press("Enter");
    await reach(new RegExp(`^${KEY}`));
    await press("Space", "Enter");
    const made = page.getByRole("article", { name: TYPED });
    await made.getByText("7 calls").first().waitFor();
    await made.getByText(`Virtual keys: ${KEY}`).waitFor();
    await reach(new RegExp(`^${TYPED}`));
    await press("Enter");
    await panel.getByText("How it stands now").waitFor();
    await reach(/^Archive$/);
    await press("Enter");
    await until("the focus in the field", async () => /^Type /.test((await focused()).name));
    await type(TYPED);
    await press("Enter");
    await made.waitFor({ state: "detached" });
  });
});
