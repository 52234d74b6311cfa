/** Opens the left side where it is hidden, by the button that opens it for everybody. */
export function openDrawer(): void {
  document.querySelector<HTMLButtonElement>('header > button[aria-expanded="false"]')?.click();
}
