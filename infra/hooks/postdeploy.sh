#!/bin/sh
# Run by azd after each deployment of code: calls the API with a token, waits until the sweep has run,
# and then switches the alerts on silence on. Exit 1 means that the app does not do its work.
#
# It needs the Azure CLI, signed in; Jit.Admin or Jit.Read shows it the time of the last sweep, and
# without them it waits for the verdict. It changes nothing but the two alert rules and azd's environment.
set -eu
# Git Bash on Windows would take an id that begins with / for a path.
export MSYS_NO_PATHCONV=1

say() { printf 'postdeploy: %s\n' "$*"; }
stop() { say "$*" >&2; exit 1; }

for name in AZURE_SUBSCRIPTION_ID AZURE_RESOURCE_GROUP AZURE_FUNCTION_NAME JIT_API_URL JIT_API_AUDIENCE JIT_DEPLOYMENT_ID; do
    eval "value=\${$name:-}"
    [ -n "$value" ] || stop "$name is not set; run this through azd"
done
command -v az >/dev/null 2>&1 || stop 'the Azure CLI (az) is needed; whether the app works is not known'

wait_seconds=${JIT_VERIFY_SECONDS:-600}
pause_seconds=${JIT_VERIFY_PAUSE:-10}
waited=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# Wait once more, or fail when the time is over.
pause() {
    [ "$waited" -lt "$wait_seconds" ] || return 1
    sleep "$pause_seconds"
    waited=$((waited + pause_seconds))
}

# GET $1 with a token; print what the query $2 finds.
get() {
    az rest --method get --resource "$JIT_API_AUDIENCE" --url "$JIT_API_URL$1" --output tsv --query "$2" \
        2>"$work/error" </dev/null
}

# The health path takes no token at the platform, so only another path shows that tokens pass.
call_with_a_token() {
    until get /api/requests 'length(value)' >/dev/null; do
        # The app refuses with a code of its own; then the token has passed the platform.
        if grep -q 'AuthorizationFailed' "$work/error"; then
            return 0
        fi
        pause || return 1
    done
}

print_refusal() {
    cat "$work/error" >&2
    if grep -q -i -E 'Forbidden|403' "$work/error"; then
        say 'platform authentication refuses the token: put the client id of the caller into JIT_ALLOWED_CLIENTS, or set' >&2
        say 'JIT_PLATFORM_AUTHENTICATION to false, and run azd provision (docs/deploy.md, "Who may call")' >&2
    elif grep -q -i -E 'Unauthorized|401|AADSTS' "$work/error"; then
        say "Entra gave no token for $JIT_API_AUDIENCE, or the app does not accept it: sign in with az login" >&2
    else
        say "look at the log of $AZURE_FUNCTION_NAME: a setting that is wrong stops the app, and names itself" >&2
    fi
}

# Print the verdict and the time of the last sweep; an unhealthy app answers 503 with the same body.
read_health() {
    if get /api/health "join(' ', [status, lastSweep || 'hidden'])"; then
        return 0
    fi
    sed -n 's/.*"lastSweep": *"\([^"]*\)".*/Unhealthy \1/p' "$work/error"
}

# The sweep of the version before may have run a moment ago, so the time of the last sweep has to change
# once. Without the right to see it, a verdict of 200 has to do: before the first sweep there is none.
wait_for_sweep() {
    first=
    while :; do
        health=$(read_health)
        last=${health#* }
        if [ -n "$health" ]; then
            verdict=${health%% *}
            if [ "$last" = hidden ] || { [ -n "$first" ] && [ "$last" != "$first" ]; }; then
                return 0
            fi
            first=$last
        fi
        pause || return 1
    done
}

enable_alert() {
    az rest --method patch --output none --body '{"properties": {"enabled": true}}' </dev/null \
        --url "/subscriptions/$AZURE_SUBSCRIPTION_ID/resourceGroups/$AZURE_RESOURCE_GROUP/providers/Microsoft.Insights/scheduledQueryRules/$1-$JIT_DEPLOYMENT_ID?api-version=2023-12-01"
}

watch_silence() {
    [ "${JIT_WATCH_SILENCE:-true}" != true ] || return 0
    for alert in jit-sweep-silent jit-health-failing; do
        # No test calls an app whose public endpoint is closed.
        [ "$alert" != jit-health-failing ] || [ "${JIT_APP_IS_PRIVATE:-false}" != true ] || continue
        enable_alert "$alert" || stop "the alert $alert could not be enabled; run azd deploy again"
    done
    # The next azd provision keeps them enabled.
    azd env set JIT_WATCH_SILENCE true || stop 'azd env set failed: set JIT_WATCH_SILENCE to true yourself'
    say 'the alerts on silence are on'
}

say "calling $JIT_API_URL with a token"
call_with_a_token || { print_refusal; stop "the API has answered no call with a token within $wait_seconds seconds"; }
say 'waiting for the sweep'
wait_for_sweep || { cat "$work/error" >&2; stop "the sweep has not run within $wait_seconds seconds: nothing closes until it runs (docs/alerts.md, jit-sweep-silent)"; }
say "the sweep runs; the app says $verdict"
watch_silence
if [ "$verdict" = Unhealthy ]; then
    cat "$work/error" >&2
    say 'something else is wrong: the answer above names it (docs/alerts.md)' >&2
fi
