// Sets the remembered theme before the first paint. The console keeps it up to date afterwards.
try {
  const theme = localStorage.getItem("headgate.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Without storage the system's theme holds.
}
