// Who may do what, and where one is: members and their roles, one-time passwords, access tokens, workspaces and the switcher, the
// theme, and the way around on a phone.

import { assert, told, until } from "./person.mjs";

const SLUG = `side-${Date.now().toString(36)}`;
const ADA = { email: `ada-${SLUG}@example.com`, name: "Ada Lovelace", password: "a few unrelated words" };

await told(async (person) => {
  const { page, ready, step, look, axe, workspace, organization, at, go, settled, signIn, confirm } = person;
  await signIn();
  let given;

  await step("a workspace is made", async () => {
    await go(`${organization}/settings?tab=workspaces`, "Settings");
    await page.getByRole("button", { name: "New workspace" }).click();
    const dialog = page.getByRole("dialog", { name: "New workspace" });
    await dialog.getByLabel("Name", { exact: true }).fill("Side project");
    await dialog.getByLabel("Slug").fill("Not A Slug");
    await dialog.getByRole("button", { name: "Create workspace" }).click();
    await dialog.getByText(/^A slug: /).waitFor();
    await look("workspace-form");
    await dialog.getByLabel("Slug").fill(SLUG);
    await dialog.getByRole("button", { name: "Create workspace" }).click();
    await page.getByRole("link", { name: "Side project", exact: true }).waitFor();
  });

  await step("the switcher leads to the same page of another workspace", async () => {
    await go(`${workspace}/keys?env=staging`, "Virtual keys");
    const switcher = page.getByRole("complementary").getByTestId("switcher");
    const was = await switcher.innerText();
    await switcher.click();
    await page.getByLabel("Search workspaces").fill("side");
    assert.equal(await page.getByRole("dialog", { name: "Switch workspace" }).getByRole("link", { name: "Main" }).count(), 0);
    await look("switcher");
    await page.getByRole("link", { name: "Side project", exact: true }).click();
    await page.waitForURL((url) => /\/workspaces\/ws_\w+\/keys/.test(url.pathname) && !url.pathname.startsWith(workspace));
    await page.getByText("No virtual keys here yet").waitFor();
    await switcher.getByText("Side project").waitFor();
    // It is remembered: the bare address leads there.
    await page.goto(ready.console_url);
    await at("Overview");
    await switcher.getByText("Side project").waitFor();
    await switcher.click();
    await page.getByLabel("Search workspaces").press("ArrowDown");
    await page.keyboard.press("Escape");
    await page.getByRole("dialog", { name: "Switch workspace" }).waitFor({ state: "detached" });
    await go(`${workspace}/keys`, "Virtual keys");
    await until("the name of before", async () => (await switcher.innerText()) === was);
  });

  await step("an environment is renamed and put elsewhere", async () => {
    await go(`${workspace}/keys`, "Virtual keys");
    await go(`${organization}/settings?tab=environments`, "Settings");
    const row = (slug) => page.getByRole("row").filter({ hasText: slug });
    const order = async () => {
      const text = await page.getByRole("table", { name: "Environments" }).innerText();
      return ["development", "staging", "production"].sort((one, other) => text.indexOf(one) - text.indexOf(other)).join();
    };
    const was = await order();
    await row("staging").getByRole("button", { name: "Edit" }).click();
    const dialog = page.getByRole("dialog", { name: "Edit environment" });
    await dialog.getByLabel("Place").fill("first");
    await dialog.getByRole("button", { name: "Save" }).click();
    await dialog.getByText("Give a whole number from 1.").waitFor();
    await dialog.getByLabel("Name", { exact: true }).fill("Rehearsal");
    await dialog.getByLabel("Place").fill("9");
    await look("environment-form");
    await dialog.getByRole("button", { name: "Save" }).click();
    await dialog.waitFor({ state: "detached" });
    await row("staging").getByText("Rehearsal").waitFor();
    await until("another order", async () => (await order()) !== was);
    assert.ok((await order()).endsWith("staging"));
  });

  await step("an organization is founded from the switcher, and begins with a workspace", async () => {
    await go(`${workspace}/keys`, "Virtual keys");
    const switcher = page.getByRole("complementary").getByTestId("switcher");
    await switcher.click();
    await page.getByRole("button", { name: "New organization" }).click();
    const dialog = page.getByRole("dialog", { name: "New organization" });
    await dialog.getByLabel("Name", { exact: true }).fill("Acme Research");
    await dialog.getByLabel("Slug").fill("Acme Research");
    await dialog.getByRole("button", { name: "Create organization" }).click();
    await dialog.getByText(/^A slug: /).waitFor();
    await look("organization-form");
    await dialog.getByLabel("Slug").fill(`acme-${SLUG}`);
    await dialog.getByRole("button", { name: "Create organization" }).click();
    await page.waitForURL((url) => url.pathname.endsWith("/settings") && !url.pathname.startsWith(organization));
    await page.getByText(`acme-${SLUG}`).waitFor();
    await switcher.getByText("Acme Research").waitFor();
    await switcher.click();
    await page.getByLabel("Search workspaces").fill("acme research");
    const places = page.getByRole("dialog", { name: "Switch workspace" });
    assert.equal(await places.getByRole("link").count(), 2, "a first workspace and the settings");
    await page.keyboard.press("Escape");
  });

  await step("a person is added, with a password that is shown once", async () => {
    await go(`${organization}/members`, "Members & roles");
    await page.getByTestId("add-member").click();
    const dialog = page.getByRole("dialog", { name: "Add a member" });
    await dialog.getByLabel("E-mail").fill("nobody");
    await dialog.getByLabel("Name", { exact: true }).fill(ADA.name);
    await dialog.getByRole("button", { name: "Add member" }).click();
    await dialog.getByText(/^The address /).waitFor();
    await dialog.getByLabel("E-mail").fill(ADA.email);
    await dialog.getByLabel("Holds on").selectOption({ label: "Workspace Side project" });
    await look("member-form");
    await dialog.getByRole("button", { name: "Add member" }).click();
    given = (await page.getByTestId("secret").innerText()).trim();
    await axe("member-added");
    await page.getByRole("button", { name: "Done" }).click();
    await page.getByTestId("secret").waitFor({ state: "detached" });
    assert.ok(!(await page.content()).includes(given));
  });

  const panel = page.getByRole("dialog", { name: ADA.name });
  const roles = panel.getByRole("region", { name: "Roles" });

  await step("a role is given, taken away, and the taking undone", async () => {
    await page.getByRole("button", { name: ADA.name }).click();
    await panel.getByLabel("Role", { exact: true }).selectOption({ value: "viewer" });
    await panel.getByLabel("Holds on").selectOption({ label: "Whole organization" });
    await panel.getByRole("button", { name: "Give role" }).click();
    const viewer = roles.getByRole("listitem").filter({ hasText: "Viewer" });
    await viewer.getByText("on organization").waitFor();
    await look("member");
    await viewer.getByRole("button", { name: "Take away" }).click();
    await viewer.waitFor({ state: "detached" });
    await page.getByRole("button", { name: "Undo" }).click();
    await viewer.waitFor();
    await viewer.getByRole("button", { name: "Take away" }).click();
    await viewer.waitFor({ state: "detached" });
  });

  await step("a person is disabled after a question, and enabled again", async () => {
    await go(`${organization}/members`, "Members & roles");
    await page.getByRole("button", { name: ADA.name }).click();
    await page.getByTestId("disable-member").click();
    // Access tokens end for good with it, so it is asked before and not undone after.
    await page.getByTestId("confirm").getByText("Access tokens are revoked for good").waitFor();
    await look("member-disable");
    await confirm(ADA.email, "Disable member");
    await page.getByTestId("enable-member").waitFor();
    assert.equal(await page.getByRole("button", { name: "Undo" }).count(), 0, "nothing is offered that cannot be done");
    await page.getByTestId("enable-member").click();
    await page.getByTestId("disable-member").waitFor();
  });

  await step("a new password for a person is shown once", async () => {
    await page.getByTestId("reset-password").click();
    await page.getByTestId("confirm-reset").click();
    const second = (await page.getByTestId("secret").innerText()).trim();
    assert.ok(second.length >= 12 && second !== given);
    await axe("one-time-password");
    await page.getByRole("button", { name: "Done" }).click();
    await page.getByTestId("secret").waitFor({ state: "detached" });
    assert.ok(!(await page.content()).includes(second));
    given = second;
  });

  await step("an access token is made, rotated with both secrets working, and revoked", async () => {
    await go(`${organization}/settings?tab=tokens`, "Settings");
    await page.getByRole("button", { name: "New access token" }).first().click();
    const dialog = page.getByRole("dialog", { name: "New access token" });
    await dialog.getByLabel("Name", { exact: true }).fill("deploy script");
    await dialog.getByLabel("Expires").selectOption({ label: "In 30 days" });
    await axe("token-form");
    await dialog.getByRole("button", { name: "Create token" }).click();
    const token = (await page.getByTestId("secret").innerText()).trim();
    assert.match(token, /^hga_/);
    await look("token-issued");
    const asked = (secret = token) => fetch(`${ready.api_url}/me`, { headers: { authorization: `Bearer ${secret}` } });
    assert.equal((await asked()).status, 200);
    await page.getByRole("button", { name: "I have saved it" }).click();
    await page.getByTestId("secret").waitFor({ state: "detached" });
    assert.ok(!(await page.content()).includes(token));
    const row = page.getByRole("row").filter({ hasText: "deploy script" });
    await row.getByText("Active").waitFor();
    await row.getByRole("button", { name: "Rotate" }).click();
    const rotation = page.getByRole("dialog", { name: "Rotate “deploy script”" });
    await rotation.getByLabel("The old secret goes on working for").selectOption({ label: "One hour" });
    await look("token-rotate");
    await rotation.getByRole("button", { name: "Rotate", exact: true }).click();
    const fresh = (await page.getByTestId("secret").innerText()).trim();
    assert.ok(fresh.startsWith("hga_") && fresh !== token);
    await page.getByRole("button", { name: "I have saved it" }).click();
    await page.getByTestId("secret").waitFor({ state: "detached" });
    assert.ok(!(await page.content()).includes(fresh));
    await row.getByTestId("old-secret").getByText("not used since").waitFor();
    assert.deepEqual([(await asked()).status, (await asked(fresh)).status], [200, 200], "both work");
    await page.reload();
    await row.getByTestId("old-secret").getByText(/last used (just now|\d+ s ago)/).waitFor();
    await look("token-old-secret");
    await row.getByRole("button", { name: "Revoke" }).click();
    await page.getByTestId("confirm").getByText("Scripts that use it are refused at once").waitFor();
    await axe("token-revoke");
    await confirm("deploy script", "Revoke access token");
    await row.getByText("Revoked").waitFor();
    assert.deepEqual([(await asked()).status, (await asked(fresh)).status], [401, 401]);
  });

  await step("the theme is switched by hand, and stays", async () => {
    await go(`${workspace}/overview`, "Overview");
    const shade = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const chosen = () => page.evaluate(() => document.documentElement.getAttribute("data-theme"));
    const choose = async (name) => {
      await page.getByTestId("user-menu").click();
      await page.getByRole("radiogroup", { name: "Theme" }).getByRole("radio", { name }).check();
      await page.keyboard.press("Escape");
    };
    const light = await shade();
    await choose("Dark");
    assert.equal(await chosen(), "dark");
    assert.notEqual(await shade(), light);
    const dark = await shade();
    await page.reload();
    await at("Overview");
    assert.equal(await shade(), dark, "a reload keeps it");
    await choose("System");
    assert.equal(await chosen(), null);
    await page.emulateMedia({ colorScheme: "dark" });
    assert.equal(await shade(), dark, "the system decides again");
    await page.emulateMedia({ colorScheme: "light" });
    assert.equal(await shade(), light);
  });

  await step("on a phone, the way leads through a panel", async () => {
    await page.setViewportSize({ width: 390, height: 844 });
    await go(`${workspace}/overview`, "Overview");
    await settled();
    const rail = page.getByRole("dialog", { name: "Navigation" });
    assert.ok(await page.getByRole("complementary", { name: "Places", includeHidden: true }).isHidden(), "the rail is put away");
    await page.getByRole("button", { name: "Navigation" }).click();
    await rail.getByRole("link", { name: "Requests" }).waitFor();
    await page.screenshot({ path: `${process.argv[3]}/phone-rail.png` });
    await rail.getByRole("link", { name: "Requests" }).click();
    await at("Requests");
    await rail.getByRole("link", { name: "Requests" }).waitFor({ state: "detached" });
    // Escape puts it away as well, and the focus is where it was.
    const button = page.getByRole("button", { name: "Navigation" });
    await button.click();
    await rail.getByRole("link", { name: "Overview" }).waitFor();
    await page.keyboard.press("Escape");
    await rail.getByRole("link", { name: "Overview" }).waitFor({ state: "detached" });
    assert.ok(await button.evaluate((it) => it === document.activeElement));
    await page.getByRole("button", { name: "Search and commands" }).click();
    await page.getByRole("combobox", { name: "Search pages and commands" }).fill("nodes");
    await page.keyboard.press("Enter");
    await at("Nodes");
    await page.setViewportSize({ width: 1440, height: 900 });
  });

  await step(
    "who comes in with a given password chooses one, and sees what the role allows",
    async () => {
      await go("/account", "Your account");
      await page.getByTestId("user-menu").click();
      await page.getByRole("button", { name: "Sign out" }).click();
      await page.getByLabel("E-mail").fill(ADA.email);
      await page.getByLabel("Password").fill(given);
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.getByRole("heading", { name: "Choose your password" }).waitFor();
      await look("choose-password");
      await page.getByLabel("Password you were given").fill(given);
      await page.getByLabel("New password").fill(ADA.password);
      await page.getByRole("button", { name: "Save and continue" }).click();
      await at("Your account");
      const places = page.getByRole("complementary", { name: "Places" });
      await places.getByRole("link", { name: "Overview" }).click();
      await at("Overview");
      await places.getByText("Side project").waitFor();
      assert.equal(await places.getByRole("link", { name: "Nodes" }).count(), 0, "what one may not see is not listed");
      assert.equal(await places.getByRole("link", { name: "Audit" }).count(), 0);
      // Of the members, those of one's own workspace.
      await places.getByRole("link", { name: "Members & roles" }).click();
      await at("Members & roles");
      await page.getByText("Those who can see Side project.").waitFor();
      await page.getByRole("button", { name: ADA.name, exact: true }).waitFor();
      assert.equal(await page.getByTestId("add-member").count(), 0);
      await look("members-of-workspace");
      await page.goto(new URL(`${workspace}/keys`, ready.console_url).href);
      await page.getByText("This page does not exist").waitFor();
    },
    /401/,
  );
});
