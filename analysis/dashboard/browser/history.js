// One entry of the browser's history for each action of the user, with the address that the user saw: for a link to
// another page, Streamlit first removes parameters from the address of the old page, then adds two entries, one for the
// parameters of the new page and one for its path. Back to another page loads it again, because Streamlit would show its
// first view, whatever the address says.
if (!window.sweepsHistory) {
  window.sweepsHistory = true;
  let added = false;
  let before = location.href;
  let path = location.pathname;
  const begin = () => { added = false; before = location.href; };
  for (const kind of ["pointerdown", "click", "keydown"]) document.addEventListener(kind, begin, true);
  window.addEventListener("popstate", () => {
    begin();
    if (location.pathname !== path) location.reload();
  });
  const push = history.pushState.bind(history);
  history.pushState = (...given) => {
    if (!added && location.href !== before) history.replaceState(history.state, "", before);
    if (added) history.replaceState(...given);
    else push(...given);
    added = true;
    path = location.pathname;
  };
}
