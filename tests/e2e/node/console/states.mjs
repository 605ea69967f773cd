// Every page of the console in each of its states: on its way, failed, tried again, whole, and empty. Then what an ended session,
// an unreachable server and a refused form look like.

import { assert, pagesOf, told, until } from "./person.mjs";

const API = /\/api\/v1\/(?!me$)/;
const BROKEN = { type: "about:blank", title: "Internal error", status: 500, code: "internal", detail: "The database is away. Try again." };
// What the console of the browser says of answers that this story spoils.
const SPOILED = /status of 500|ERR_FAILED/;
// Pictures of a few states say how all of them look; every state of every page is asserted.
const PICTURED = ["overview", "keys", "routes", "nodes"];

await told(async ({ page, context, ready, step, look, workspace, organization, at, go, settled, enter, signIn }) => {
  await signIn();

  const failed = () => page.getByRole("alert").filter({ hasText: "This could not be loaded" });
  const again = () => page.getByRole("button", { name: "Try again" });
  // Stands between the console and the API: answers are held, spoiled, or let through.
  const stand = async () => {
    const gate = { mode: "hold", held: [] };
    const spoil = (route) => route.fulfill({ status: 500, contentType: "application/problem+json", body: JSON.stringify(BROKEN) });
    await page.route(API, async (route) => {
      if (gate.mode === "pass") return route.continue();
      if (gate.mode === "spoil") return spoil(route);
      gate.held.push(route);
    });
    gate.spoil = async () => {
      gate.mode = "spoil";
      await Promise.all(gate.held.splice(0).map(spoil));
    };
    gate.leave = async () => {
      gate.mode = "pass";
      await Promise.all(gate.held.splice(0).map((route) => route.continue()));
      await page.unroute(API);
    };
    return gate;
  };

  for (const [name, place, heading] of pagesOf(workspace, organization)) {
    await step(
      `${name}: on its way, failed, tried again, whole`,
      async () => {
        const gate = await stand();
        try {
          await go(place, heading);
          await page.locator(".data-view[aria-busy=true] .skeleton").first().waitFor();
          assert.ok((await page.getByRole("status").filter({ hasText: "Loading" }).count()) > 0, "loading is said aloud");
          if (PICTURED.includes(name)) await look(`${name}-loading`);
          await gate.spoil();
          await failed().first().waitFor();
          await failed().getByText(BROKEN.detail).first().waitFor();
          // Nothing waits for ever for what has failed.
          await settled();
          assert.equal(await failed().count(), await again().count(), "each failure offers another try");
          if (PICTURED.includes(name)) await look(`${name}-failed`);
          await gate.leave();
          await until("every view tried again", async () => {
            if ((await again().count()) === 0) return true;
            // One that has come by itself in the meantime is no longer there to be pressed.
            await again().first().click({ timeout: 1_000 }).catch(() => {});
            return false;
          });
          await settled();
          assert.equal(await failed().count(), 0, "nothing is left that could not be loaded");
        } finally {
          await page.unrouteAll({ behavior: "ignoreErrors" });
        }
      },
      SPOILED,
    );
  }

  await step(
    "a refresh that fails keeps what is there, and says so",
    async () => {
      await go(`${organization}/nodes`, "Nodes");
      const row = page.locator("tbody tr[data-key]").first();
      await row.waitFor();
      const gate = await stand();
      await gate.spoil();
      const note = page.getByRole("status").filter({ hasText: "Could not refresh" });
      await note.waitFor();
      assert.ok(await row.isVisible(), "the old rows stay");
      await look("nodes-stale");
      await gate.leave();
      await note.getByRole("button", { name: "Try again" }).click();
      await note.waitFor({ state: "detached" });
    },
    SPOILED,
  );

  await step(
    "a form that could not be sent keeps what was typed, and goes the second time",
    async () => {
      await go(`${workspace}/keys?new=1`, "Virtual keys");
      const dialog = page.getByTestId("create-key-dialog");
      await dialog.getByLabel("Name", { exact: true }).fill("second try");
      const gate = await stand();
      await gate.spoil();
      await dialog.getByRole("button", { name: "Create key" }).click();
      await dialog.getByRole("alert").getByText(BROKEN.detail).waitFor();
      assert.equal(await dialog.getByLabel("Name", { exact: true }).inputValue(), "second try");
      await look("key-form-failed");
      await gate.leave();
      await dialog.getByRole("button", { name: "Create key" }).click();
      await page.getByTestId("secret").waitFor();
      await page.getByRole("button", { name: "I have saved it" }).click();
    },
    SPOILED,
  );

  await step(
    "a server that cannot be reached is said, and tried again",
    async () => {
      await page.route("**/api/v1/**", (route) => route.abort());
      await page.goto(new URL(`${workspace}/keys`, ready.console_url).href);
      await failed().getByText("Headgate could not be reached").waitFor();
      await look("unreachable");
      await page.unroute("**/api/v1/**");
      await again().click();
      await at("Virtual keys");
      await settled();
    },
    SPOILED,
  );

  await step(
    "a page whose code does not come says so, and comes when it is tried again or the console is loaded anew",
    async () => {
      const code = /\/split_people-[0-9a-f]+\.wasm$/;
      const missing = page.getByRole("alert").filter({ hasText: "This page could not be fetched" });
      const gate = { mode: "hold", held: [], n_asked: 0 };
      await page.route(code, (route) => {
        gate.n_asked += 1;
        if (gate.mode === "hold") return gate.held.push(route);
        return gate.mode === "spoil" ? route.abort() : route.continue();
      });
      try {
        await go(`${workspace}/overview`, "Overview");
        await settled();
        assert.equal(gate.n_asked, 0, "the first page does without");
        // Under way from when the pointer points at it; the click asks for nothing a second time.
        const link = page.getByRole("navigation", { name: "Organization" }).getByRole("link", { name: "Nodes" });
        await link.hover();
        await until("the code is asked for", async () => gate.n_asked === 1);
        await link.click();
        await page.getByRole("main").getByRole("status").filter({ hasText: "Loading" }).waitFor();
        assert.equal(await page.title(), "Nodes · Headgate");
        assert.equal(await page.evaluate(() => document.activeElement?.id), "content");
        assert.equal(gate.n_asked, 1);
        gate.mode = "spoil";
        await Promise.all(gate.held.splice(0).map((route) => route.abort()));
        await missing.waitFor();
        await look("nodes-code-missing");
        await missing.getByRole("button", { name: "Try again" }).click();
        await until("it is asked for again", async () => gate.n_asked === 2);
        await missing.waitFor();
        // Other pages are not held up by it.
        await page.getByRole("link", { name: "Budgets" }).click();
        await at("Budgets");
        gate.mode = "pass";
        await link.click();
        await at("Nodes");
        assert.equal(gate.n_asked, 3, "a page that is opened anew asks anew");

        // As after an update of the server, of which only a reload knows the new names.
        gate.mode = "spoil";
        await page.goto(new URL(`${organization}/nodes`, ready.console_url).href);
        await missing.waitFor();
        gate.mode = "pass";
        await missing.getByRole("button", { name: "Load the console anew" }).click();
        await at("Nodes");
        await settled();
      } finally {
        await page.unroute(code);
      }
    },
    /ERR_FAILED|Failed to fetch/,
  );

  await step(
    "an ended session leads to sign-in, and back to where one was",
    async () => {
      await go(`${organization}/nodes?tab=nodes`, "Nodes");
      await page.locator("tbody .row-open").first().click();
      await page.getByText("Certificate ends").last().waitFor();
      const where = page.url();
      assert.match(where, /[?&]node=node_/);
      await context.clearCookies();
      await page.getByRole("heading", { name: "Sign in to Headgate" }).waitFor();
      await enter();
      await at("Nodes");
      assert.equal(page.url(), where);
      await page.getByRole("dialog").getByText("Certificate ends").waitFor();
    },
    /401/,
  );

  // === Empty ===

  const other = {};
  await step("an organization is made, in which nothing is yet", async () => {
    const made = await page.evaluate(async (slug) => {
      const headers = { "content-type": "application/json", "x-headgate-csrf": "1" };
      const answer = await fetch("/api/v1/organizations", { method: "POST", headers, body: JSON.stringify({ slug, name: "Empty Works" }) });
      return { status: answer.status, body: await answer.json() };
    }, `empty-${Date.now().toString(36)}`);
    assert.equal(made.status, 201, JSON.stringify(made.body));
    other.organization = `/organizations/${made.body.id}`;
    const workspaces = await page.evaluate(async (path) => (await fetch(`/api/v1${path}/workspaces`)).json(), other.organization);
    other.workspace = `/workspaces/${workspaces.items[0].id}`;
  });

  // What each page says when there is nothing, and what it offers to do about it: a button, a link, or nothing but the words.
  const empty = [
    ["overview", "No requests in this range", "link", "Create a key"],
    ["requests", "No requests in this range", "link", "Create a key"],
    ["keys", "No virtual keys here yet", "button", "Create a key"],
    ["routes", "No routes yet", "button", "Create a route"],
    ["deployments", "No deployments yet", "button", "New deployment"],
    ["budgets", "No budgets yet", "button", "Create a budget"],
    ["rate-limits", "No rate limits yet", "button", "Create a rate limit"],
    ["usage", "Nothing was used in this range", null],
    ["credentials", "No credentials yet", "button", "Add a credential"],
    ["providers", "", null],
    ["kill-switches", "Nothing is stopped", "button", "Stop something"],
    ["nodes", "No node has joined yet", "button", "Join a node"],
    ["join-tokens", "No join token is open", "button", "Join a node"],
    ["access-tokens", "No access tokens", "button", "New access token"],
  ];
  for (const [name, title, role, act] of empty) {
    await step(`${name}: empty, and says how to begin`, async () => {
      const [, place, heading] = pagesOf(other.workspace, other.organization).find((it) => it[0] === name);
      await go(place, heading);
      await settled();
      const words = page.locator(".empty").filter({ hasText: title }).first();
      await words.waitFor();
      assert.ok((await words.locator("p").first().innerText()).length > 30, "it says what this is for");
      if (role) await page.getByRole("main").getByRole(role, { name: act }).first().waitFor();
      await look(`${name}-empty`);
    });
  }
});
