// Draws openapi.json, which needs the API key where the service has one. The key stays in this page.
"use strict";

async function show(key) {
  const answer = await fetch("openapi.json", { headers: key ? { "x-functions-key": key } : {} });
  const form = document.getElementById("sign-in");
  if (!answer.ok) {
    const refusal = await answer.json().catch(() => ({ error: { message: `HTTP ${answer.status}` } }));
    form.hidden = answer.status !== 401;
    document.getElementById("why").textContent = key || answer.status !== 401 ? refusal.error.message : "";
    if (answer.status !== 401) document.getElementById("pages").textContent = refusal.error.message;
    return;
  }
  form.hidden = true;
  const page = SwaggerUIBundle({
    spec: await answer.json(),
    dom_id: "#pages",
    presets: [SwaggerUIBundle.presets.apis],
    validatorUrl: null,
    onComplete: () => key && page.preauthorizeApiKey("functions_key", key),
  });
}

document.getElementById("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  show(document.getElementById("key").value);
});
show("");
