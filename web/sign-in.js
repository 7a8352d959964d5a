// Sign-in by redirect. Tokens stay in sessionStorage.

export const settings = JSON.parse(document.documentElement.dataset.settings ?? "{}");
/** @type {any} */
let client;

/** Complete a sign-in, or start one. @returns {Promise<boolean>} whether a person is signed in */
export async function signIn() {
  const { msal } = /** @type {any} */ (window);
  client = new msal.PublicClientApplication({
    auth: {
      clientId: settings.clientId,
      authority: settings.authority,
      authorityMetadata: settings.authorityMetadata || undefined,
      redirectUri: `${location.origin}${settings.base}/ui/`,
    },
    cache: { cacheLocation: "sessionStorage" },
  });
  await client.initialize();
  const answer = await client.handleRedirectPromise();
  const account = answer?.account ?? client.getAllAccounts()[0];
  if (account) {
    client.setActiveAccount(account);
    return true;
  }
  await client.loginRedirect({ scopes: [settings.scope] });
  return false;
}

/** Return an access token; where none can be had, sign in again. @returns {Promise<string>} */
export async function token() {
  const request = { scopes: [settings.scope], account: client.getActiveAccount() };
  try {
    const { CacheLookupPolicy } = /** @type {any} */ (window).msal;
    return (await client.acquireTokenSilent({ ...request, cacheLookupPolicy: CacheLookupPolicy.AccessTokenAndRefreshToken })).accessToken;
  } catch {
    await client.acquireTokenRedirect(request);
    return new Promise(() => {});
  }
}
