// Runs before anything is drawn, so that a page with chosen colours does not flash in others.
try {
  document.documentElement.dataset.theme = JSON.parse(localStorage.getItem("looksay-theme")) ?? "auto";
} catch {
  document.documentElement.dataset.theme = "auto";
}
