// The page works without this: it takes on Airflow's theme, opens links of other pages outside the frame, and refreshes.
(() => {
  const framed = window.parent !== window;
  const airflow = () => window.parent.document;
  if (framed) {
    try {
      const root = airflow().documentElement;
      const follow = () => {
        document.documentElement.dataset.theme = root.classList.contains("dark") ? "dark" : "light";
      };
      follow();
      new MutationObserver(follow).observe(root, { attributeFilter: ["class"] });
    } catch {
      // framed by somebody else: the theme of the system stays
    }
    document.addEventListener("click", (event) => {
      const link = event.target.closest("a.out");
      if (!link) return;
      // The frame itself may open nothing; a link of the page around it may.
      const outside = airflow().createElement("a");
      Object.assign(outside, { href: link.href, target: link.dataset.inside ? "_self" : "_blank", rel: "noopener" });
      event.preventDefault();
      outside.click();
    });
  }
  const busy = () => {
    const at = document.activeElement;
    return document.hidden || (at && at.matches("input,select,textarea")) || window.getSelection().type === "Range";
  };
  const refresh = async () => {
    if (busy()) return;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (!answer.ok || answer.redirected) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const block of document.querySelectorAll("[data-block]")) {
        const other = fresh.getElementById(block.id);
        if (busy() || !other || other.innerHTML === block.innerHTML) continue;
        const link = block.contains(document.activeElement) && document.activeElement.getAttribute("href");
        block.innerHTML = other.innerHTML;
        if (link) block.querySelector(`[href="${CSS.escape(link)}"]`)?.focus();
      }
      document.body.dataset.counting = fresh.body.dataset.counting;
    } catch {
      // the server is away: the page keeps its as-of times
    }
  };
  document.addEventListener("DOMContentLoaded", () => {
    if (!document.body.dataset.live) return;
    const again = () => {
      window.setTimeout(async () => {
        await refresh();
        again();
      }, document.body.dataset.counting ? 700 : 10000);
    };
    again();
  });
})();
