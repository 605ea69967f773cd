// The main way by keyboard alone: sign in, the palette, make a key, copy its secret, look, revoke. No step of it uses the mouse.
// The focus is always seen, stays inside of what is open, and goes back to where it was.

import { assert, told, until } from "./person.mjs";

const KEY_NAME = `typed-${Date.now().toString(36)}`;

await told(async ({ page, ready, step, look, axe, workspace, at, press, type, focused, reach }) => {
  await step(
    "sign-in begins in its first field, and Enter sends it",
    async () => {
      await page.goto(ready.console_url);
      await page.getByRole("heading", { name: "Sign in to Headgate" }).waitFor();
      await until("the focus in the first field", async () => /E-mail/.test((await focused()).name));
      await type(ready.admin_email);
      await reach(/^Password/);
      await type(ready.admin_password);
      await press("Enter");
      await at("Overview");
    },
    /401/,
  );

  await step("the first stop is a way past the rail", async () => {
    await page.goto(new URL(`${workspace}/usage`, ready.console_url).href);
    await at("Usage");
    await press("Tab");
    assert.equal((await focused()).name, "Skip to content");
    await press("Enter");
    await until("the focus on the content", () => page.evaluate(() => document.activeElement?.id === "content"));
  });

  await step("the palette opens, closes, and goes where it is told", async () => {
    const palette = page.getByRole("combobox", { name: "Search pages and commands" });
    await reach(/Saved views|Views/);
    const before = await focused();
    await press("Control+k");
    await palette.waitFor();
    await look("palette");
    await press("Escape");
    await palette.waitFor({ state: "detached" });
    assert.equal((await focused()).name, before.name, "the focus is back where it was");
    await press("Control+k");
    await palette.waitFor();
    await type("virtual");
    await press("ArrowDown", "ArrowUp");
    assert.equal(await page.getByTestId("palette").getByRole("option", { selected: true }).innerText().then((text) => text.split("\n")[0]), "Virtual keys");
    await press("Enter");
    await at("Virtual keys");
    await until("the focus on the new page", () => page.evaluate(() => document.activeElement?.id === "content"));
  });

  await step("a key is created", async () => {
    await reach(/^Create key$/);
    await press("Enter");
    await page.getByTestId("create-key-dialog").waitFor();
    await until("the focus in the first field", async () => /^Name/.test((await focused()).name));
    // Escape leaves, and the focus is on the button again.
    await press("Escape");
    await page.getByLabel("Name", { exact: true }).waitFor({ state: "detached" });
    await until("the focus on the button", async () => (await focused()).name === "Create key");
    await press("Enter");
    await until("the focus in the first field", async () => /^Name/.test((await focused()).name));
    await type(KEY_NAME);
    await reach(/^Environment/);
    await press("ArrowDown");
    // The focus goes round inside of the dialog and never behind it.
    await reach(/^Close$/);
    await reach(/^Create key$/);
    assert.ok(await page.evaluate(() => document.activeElement.closest("dialog") !== null));
    await press("Enter");
    await page.getByTestId("secret").waitFor();
  });

  await step("its secret is copied, and saved away", async () => {
    const secret = (await page.getByTestId("secret").innerText()).trim();
    await reach(/^Copy$/);
    await press("Enter");
    await until("the secret in the clipboard", async () => (await page.evaluate(() => navigator.clipboard.readText())) === secret);
    assert.match((await focused()).name, /^Copied/, "it says so where the focus is");
    await reach(/^curl$/);
    await press("ArrowRight");
    assert.equal((await focused()).name, "Python");
    await page.getByRole("region", { name: "Python" }).waitFor();
    await reach(/^I have saved it$/);
    await press("Enter");
    await page.getByTestId("secret").waitFor({ state: "detached" });
    assert.ok(!(await page.content()).includes(secret));
  });

  await step("rows are walked and opened, and a panel closed again", async () => {
    await page.getByRole("button", { name: KEY_NAME }).waitFor();
    await reach(/^Table of virtual keys$/);
    await press("j");
    assert.equal((await focused()).name, KEY_NAME);
    await press("j", "k");
    assert.equal((await focused()).name, KEY_NAME);
    await press("Enter");
    await page.getByTestId("key-panel").getByText("Last used").waitFor();
    await press("Escape");
    await page.getByTestId("key-panel").getByText("Last used").waitFor({ state: "detached" });
    await until("the focus on the row", async () => (await focused()).name === KEY_NAME);
  });

  await step("the environment, the time and the columns are chosen by arrows", async () => {
    await page.keyboard.press("Control+k");
    await type("overview");
    await press("Enter");
    await at("Overview");
    await reach(/^All$/);
    await press("ArrowRight");
    await page.waitForURL(/env=/);
    await reach(/^Time range/);
    await press("Enter");
    const range = page.getByRole("dialog", { name: /^Time range/ });
    await range.waitFor();
    await press("ArrowDown");
    await axe("time-range");
    await press("Escape");
    await range.waitFor({ state: "detached" });
    assert.match((await focused()).name, /^Time range/);
  });

  await step("the key is revoked after its name was typed", async () => {
    await page.keyboard.press("Control+k");
    await type("virtual");
    await press("Enter");
    await at("Virtual keys");
    // The environment of before goes along; the key is of the second one.
    await page.goto(new URL(`${workspace}/keys`, ready.console_url).href);
    await page.getByRole("button", { name: KEY_NAME }).waitFor();
    await reach(/^Table of virtual keys$/);
    await press("j", "Enter");
    await page.getByTestId("key-panel").getByText("Last used").waitFor();
    await reach(/^Revoke$/);
    await press("Enter");
    await page.getByTestId("confirm").waitFor();
    await until("the focus in the field", async () => /^Type /.test((await focused()).name));
    await press("Escape");
    await page.getByTestId("confirm").getByRole("textbox").waitFor({ state: "detached" });
    await until("the focus on the button", async () => (await focused()).name === "Revoke");
    await press("Enter");
    await until("the focus in the field", async () => /^Type /.test((await focused()).name));
    await type(KEY_NAME);
    await press("Enter");
    await page.getByTestId("key-panel").getByText("Revoked").first().waitFor();
  });

  await step(
    "the way out is in the menu under one's initials",
    async () => {
      await press("Escape");
      await page.getByTestId("key-panel").getByText("Revoked").first().waitFor({ state: "detached" });
      await reach(/^Account of/, "Shift+Tab");
      await press("Enter");
      await page.getByRole("button", { name: "Sign out" }).waitFor();
      await press("End");
      assert.equal((await focused()).name, "Sign out");
      await press("Enter");
      await page.getByRole("heading", { name: "Sign in to Headgate" }).waitFor();
    },
    /401/,
  );
});
