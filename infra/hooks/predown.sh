#!/bin/sh
# Drain before `azd down`: close every grant, remove every rule of ours, list what could not be.
# Without it, deny rules would stay that lock people out, and allow rules that no app closes.
#
# It needs the Azure CLI and nothing else, signed in as a user with
#   - Jit.Admin in the app, to delete policies (which closes grants and removes deny rules), and
#   - where the app is down: securityRules/delete on the NSGs and Website Contributor on the app.
# It can also be run by hand: JIT_API_URL=... JIT_API_AUDIENCE=... JIT_DEPLOYMENT_ID=... \
#   JIT_SCOPES=... AZURE_FUNCTION_NAME=... AZURE_RESOURCE_GROUP=... sh infra/hooks/predown.sh
#
# Exit 1 stops `azd down`; JIT_DRAIN_ANYWAY=true lets it go on with rules left behind, but never with an
# azd that would delete resource groups which are not ours. It can be run again: it takes up what it finds.
set -eu
# Git Bash on Windows would take an id that begins with / for a path.
export MSYS_NO_PATHCONV=1

say() { printf 'predown: %s\n' "$*"; }

anyway=${JIT_DRAIN_ANYWAY:-false}
stopped=no

functionapp() {
    az functionapp "$1" --name "$AZURE_FUNCTION_NAME" --resource-group "$AZURE_RESOURCE_GROUP" \
        ${AZURE_SUBSCRIPTION_ID:+--subscription "$AZURE_SUBSCRIPTION_ID"} --output none
}

stop() {
    say "$*" >&2
    if [ "$anyway" = true ]; then
        say 'azd goes on all the same' >&2
        exit 0
    fi
    # The app stays, and what is left is its to close: it goes on trying.
    [ "$stopped" = no ] || functionapp start || say "$AZURE_FUNCTION_NAME could not be started again: start it" >&2
    exit 1
}

# `azd down` before 1.24.1 deletes every resource group that its deployment wrote to, virtual machines
# included. Deployments of earlier versions of this template wrote to those in JIT_SCOPES, so no setting
# lets an older azd go on. By hand, where azd gives no environment name, no `azd down` follows.
check_azd() {
    command -v azd >/dev/null 2>&1 || {
        [ -z "${AZURE_ENV_NAME:-}" ] || { say 'azd is not on the PATH, so its version is not known' >&2; exit 1; }
        return 0
    }
    version=$(azd version 2>/dev/null | sed -n 's/^azd version \([0-9][^ ]*\).*/\1/p')
    printf '%s\n' "$version" | awk -F '[.+-]' -v release="${version%%[+-]*}" -v whole="${version%%+*}" '
        NF < 3 { exit 1 }
        $1 != 1 { exit !($1 > 1) }
        $2 != 24 { exit !($2 > 24) }
        $3 != 1 { exit !($3 > 1) }
        { exit release != whole }
    ' || {
        say "azd ${version:-of an unknown version} may delete the resource groups in JIT_SCOPES: update azd to 1.24.1 or newer" >&2
        exit 1
    }
}
check_azd

for name in JIT_API_URL JIT_API_AUDIENCE JIT_DEPLOYMENT_ID JIT_SCOPES AZURE_FUNCTION_NAME AZURE_RESOURCE_GROUP; do
    eval "value=\${$name:-}"
    # An `azd up` that failed half-way leaves no outputs, and opened nothing.
    [ -n "$value" ] || stop "$name is not set; JIT_DRAIN_ANYWAY=true if nothing was ever deployed"
done
case $JIT_DEPLOYMENT_ID in
    *[!a-z0-9]*) stop 'JIT_DEPLOYMENT_ID is not a deployment id' ;;
esac
command -v az >/dev/null 2>&1 || stop 'the Azure CLI (az) is needed'

wait_seconds=${JIT_DRAIN_SECONDS:-300}
pause_seconds=${JIT_DRAIN_PAUSE:-10}
backup=${JIT_DRAIN_BACKUP:-jit-policies-$(date -u +%Y%m%dT%H%M%SZ).json}
subscriptions=$(printf '%s' "$JIT_SCOPES" | tr ',' '\n' | sed 's#^ */subscriptions/\([^/ ]*\).*#\1#' | sort -u)
# Jit.Admin counts within JIT_SCOPES, so a whole subscription is only asked for where it is one of them.
places=$(printf '%s' "$JIT_SCOPES" | tr ',' '\n' | sed -E 's#^ *(/subscriptions/[^/ ]+(/[rR]esource[gG]roups/[^/ ]+)?).*#\1#' | sort -u)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# Only names that carry our own mark are ours: neither Defender's rules nor another installation's.
our_rules() {
    : >"$work/rules"
    for subscription in $subscriptions; do
        az network nsg list --subscription "$subscription" --query '[].securityRules[].id' --output tsv >"$work/all" || return 1
        grep -E -i "/securityRules/[^/]*(-${JIT_DEPLOYMENT_ID}-|_${JIT_DEPLOYMENT_ID}_)[0-9A-F]{32}\$" "$work/all" >>"$work/rules" || true
    done
}

read_page() {
    az rest --method get --resource "$JIT_API_AUDIENCE" --url "$page" --output "$1" --query "$2"
}

# Saves the policies of a place and notes their ids. A list that is long comes in pages.
list_policies() {
    page="$JIT_API_URL$1/providers/Microsoft.Security/jitNetworkAccessPolicies?api-version=2020-01-01"
    while [ -n "$page" ]; do
        read_page json value >>"$work/backup" || return 1
        read_page tsv 'value[].id' >>"$work/policies" || return 1
        page=$(read_page tsv nextLink) || return 1
    done
}

drain_through_the_app() {
    : >"$work/policies"
    : >"$work/backup"
    for place in $places; do
        # A group whose subscription is listed anyway is listed with it.
        whole=${place%/[rR]esource[gG]roups/*}
        if [ "$whole" = "$place" ] || ! printf '%s\n' "$places" | grep -q -i -x -F "$whole"; then
            list_policies "$place" || return 1
        fi
    done
    if cp "$work/backup" "$backup"; then
        say "the policies are saved in $backup"
    elif [ "$anyway" != true ]; then
        say "the policies cannot be saved in $backup, so none is deleted" >&2
        exit 1
    fi
    # No requestor can ask for anything that no policy covers, so nothing new opens from here on.
    while read -r policy; do
        [ -n "$policy" ] || continue
        say "deleting $policy"
        az rest --method delete --resource "$JIT_API_AUDIENCE" --output none \
            --url "$JIT_API_URL$policy?api-version=2020-01-01" </dev/null || return 1
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

our_rules || stop 'the security groups cannot be listed'
if [ -s "$work/rules" ]; then
    # A running app would take our deletions for drift and put its rules back.
    say "stopping $AZURE_FUNCTION_NAME"
    functionapp stop || say 'it could not be stopped'
    stopped=yes
    # Allow rules before deny rules: a port must not stand open in between.
    { grep -v -i "_${JIT_DEPLOYMENT_ID}_" "$work/rules"; grep -i "_${JIT_DEPLOYMENT_ID}_" "$work/rules"; } >"$work/order" || true
    while read -r rule; do
        say "deleting $rule"
        az network nsg rule delete --ids "$rule" --output none </dev/null || say "it could not be deleted"
    done <"$work/order"
    our_rules || stop 'the security groups cannot be listed'
fi

if [ -s "$work/rules" ]; then
    say 'these rules of ours are left, look for a lock or a policy on their groups:'
    cat "$work/rules"
    stop 'the leaving stops here'
else
    say 'no rule of ours is left. Management ports are now as open as the other rules let them be.'
fi
