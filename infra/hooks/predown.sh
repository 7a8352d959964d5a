#!/bin/sh
# Drain before `azd down`: close every grant, remove every rule of ours, list what could not be.
# Without it, deny rules would stay that lock people out, and allow rules that nobody closes.
#
# It needs the Azure CLI and nothing else, signed in as somebody with
#   - Jit.Admin in the app, to delete policies (which closes grants and lifts deny rules), and
#   - where the app is down: securityRules/delete on the NSGs and Website Contributor on the app.
# It can also be run by hand: JIT_API_URL=... JIT_API_AUDIENCE=... JIT_DEPLOYMENT_ID=... \
#   JIT_SCOPES=... AZURE_FUNCTION_NAME=... AZURE_RESOURCE_GROUP=... sh infra/hooks/predown.sh
#
# Exit 1 stops `azd down`; JIT_DRAIN_ANYWAY=true lets it go on with rules left behind.
set -eu

for name in JIT_API_URL JIT_API_AUDIENCE JIT_DEPLOYMENT_ID JIT_SCOPES AZURE_FUNCTION_NAME AZURE_RESOURCE_GROUP; do
    eval "value=\${$name:-}"
    [ -n "$value" ] || { printf 'predown: %s is not set\n' "$name" >&2; exit 1; }
done
case $JIT_DEPLOYMENT_ID in
    *[!a-z0-9]*) echo 'predown: JIT_DEPLOYMENT_ID is not a deployment id' >&2; exit 1 ;;
esac
command -v az >/dev/null 2>&1 || { echo 'predown: the Azure CLI (az) is needed' >&2; exit 1; }

wait_seconds=${JIT_DRAIN_SECONDS:-300}
pause_seconds=${JIT_DRAIN_PAUSE:-10}
backup=${JIT_DRAIN_BACKUP:-jit-policies-$(date -u +%Y%m%dT%H%M%SZ).json}
subscriptions=$(printf '%s' "$JIT_SCOPES" | tr ',' '\n' | sed 's#^ */subscriptions/\([^/ ]*\).*#\1#' | sort -u)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { printf 'predown: %s\n' "$*"; }

# Only names that carry our own mark are ours: neither Defender's rules nor another installation's.
our_rules() {
    : >"$work/rules"
    for subscription in $subscriptions; do
        az network nsg list --subscription "$subscription" --query '[].securityRules[].id' --output tsv >"$work/all" || return 1
        grep -E -i "/securityRules/[^/]*(-${JIT_DEPLOYMENT_ID}-|_${JIT_DEPLOYMENT_ID}_)[0-9A-F]{32}\$" "$work/all" >>"$work/rules" || true
    done
}

policies_at() {
    az rest --method get --resource "$JIT_API_AUDIENCE" --output "$2" --query "$3" \
        --url "$JIT_API_URL/subscriptions/$1/providers/Microsoft.Security/jitNetworkAccessPolicies?api-version=2020-01-01"
}

drain_through_the_app() {
    : >"$work/policies"
    : >"$work/backup"
    for subscription in $subscriptions; do
        policies_at "$subscription" json 'value' >>"$work/backup" || return 1
        policies_at "$subscription" tsv 'value[].id' >>"$work/policies" || return 1
    done
    cp "$work/backup" "$backup"
    say "the policies are saved in $backup"
    # Nobody can ask for anything that no policy covers, so nothing new opens from here on.
    while read -r policy; do
        [ -n "$policy" ] || continue
        say "deleting $policy"
        az rest --method delete --resource "$JIT_API_AUDIENCE" --output none \
            --url "$JIT_API_URL$policy?api-version=2020-01-01" || return 1
    done <"$work/policies"
}

wait_until_gone() {
    waited=0
    while our_rules && [ -s "$work/rules" ]; do
        [ "$waited" -lt "$wait_seconds" ] || return 1
        sleep "$pause_seconds"
        waited=$((waited + pause_seconds))
    done
    [ ! -s "$work/rules" ]
}

if drain_through_the_app; then
    say 'waiting for the app to close what it opened'
    wait_until_gone || say 'the app has not closed everything in time'
else
    say 'the app does not answer as it should; its rules are removed without it'
fi

our_rules || { say 'the security groups cannot be listed'; exit 1; }
if [ -s "$work/rules" ]; then
    # A running app would take our deletions for drift and put its rules back.
    say "stopping $AZURE_FUNCTION_NAME"
    az functionapp stop --name "$AZURE_FUNCTION_NAME" --resource-group "$AZURE_RESOURCE_GROUP" --output none || say 'it could not be stopped'
    # Allow rules before deny rules: a port must not stand open in between.
    { grep -v -i "_${JIT_DEPLOYMENT_ID}_" "$work/rules"; grep -i "_${JIT_DEPLOYMENT_ID}_" "$work/rules"; } >"$work/order" || true
    while read -r rule; do
        say "deleting $rule"
        az network nsg rule delete --ids "$rule" --output none || say "it could not be deleted"
    done <"$work/order"
    our_rules || { say 'the security groups cannot be listed'; exit 1; }
fi

if [ -s "$work/rules" ]; then
    say 'these rules of ours are left, look for a lock or a policy on their groups:'
    cat "$work/rules"
    [ "${JIT_DRAIN_ANYWAY:-false}" = true ] || exit 1
else
    say 'no rule of ours is left. Management ports are now as open as the other rules let them be.'
fi
