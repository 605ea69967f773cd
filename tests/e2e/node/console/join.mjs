// A join token is made in the console, shown once, and told to whoever started this story: a node is to join with it.

import { assert, told } from "./person.mjs";

await told(async ({ page, step, look, axe, organization, go, signIn }) => {
  await signIn();
  let secret;

  const make = async () => {
    await page.getByRole("button", { name: "Join a node" }).first().click();
    const dialog = page.getByRole("dialog", { name: "Join a node" });
    await dialog.getByLabel("Works for").selectOption({ label: "One hour" });
    await dialog.getByRole("button", { name: "Create join token" }).waitFor();
    return dialog;
  };

  await step("a group for nodes is made, and renamed", async () => {
    await go(`${organization}/nodes?tab=groups`, "Nodes");
    await page.getByRole("button", { name: "New group" }).click();
    const dialog = page.getByTestId("group-dialog");
    await dialog.getByLabel("Name", { exact: true }).fill("frankfurt");
    await look("group-form");
    await dialog.getByRole("button", { name: "Create group" }).click();
    await page.getByRole("button", { name: "frankfurt", exact: true }).click();
    await dialog.getByLabel("Region").fill("eu-central-1");
    await axe("group-change");
    await dialog.getByRole("button", { name: "Save group" }).click();
    await page.getByRole("cell", { name: "eu-central-1" }).waitFor();
  });

  await step("a join token is shown once, with the command that uses it", async () => {
    const dialog = await make();
    await dialog.getByLabel("Group").selectOption({ label: "frankfurt" });
    await look("join-form");
    await dialog.getByRole("button", { name: "Create join token" }).click();
    secret = (await page.getByTestId("secret").innerText()).trim();
    const command = await dialog.getByRole("region", { name: "command" }).innerText();
    assert.ok(command.includes(secret) && command.includes("gateway"), command);
    await look("join-token");
    await dialog.getByRole("button", { name: "Done" }).click();
    await page.getByTestId("secret").waitFor({ state: "detached" });
    assert.ok(!(await page.content()).includes(secret));
  });

  await step("one that is not needed is revoked", async () => {
    await go(`${organization}/nodes?tab=tokens`, "Nodes");
    const rows = page.getByRole("row").filter({ hasText: "frankfurt" });
    await rows.first().waitFor();
    const before = await rows.count();
    const dialog = await make();
    await dialog.getByLabel("Group").selectOption({ label: "frankfurt" });
    await dialog.getByRole("button", { name: "Create join token" }).click();
    await dialog.getByRole("button", { name: "Done" }).click();
    await rows.nth(before).waitFor();
    await look("join-tokens-open");
    // The newest stands first.
    await rows.first().getByRole("button", { name: "Revoke" }).click();
    await page.getByText("The join token is revoked.").waitFor();
    await rows.nth(before).waitFor({ state: "detached" });
  });

  return { join_token: secret };
});
