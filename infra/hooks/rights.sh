#!/bin/sh
# Run by postprovision.sh: assigns each role of JIT_SCOPE_RIGHTS at each scope of JIT_SCOPES, those for
# Azure Firewall where firewall scopes are named, that for Bastion's sessions where it is switched on,
# and nothing wider. A scope is a subscription, a resource group or one resource.
#
# It is no part of azd's deployment, because `azd down` before 1.24.1 deletes every resource group
# that its deployment wrote to. It takes Microsoft.Authorization/roleAssignments/write at the scopes
# and nothing else. It can be run again: an assignment that exists stays.
set -euf
# Git Bash on Windows would take an id that begins with / for a path.
export MSYS_NO_PATHCONV=1

say() { printf 'rights: %s\n' "$*"; }
stop() { say "$*" >&2; exit 1; }

[ -n "${JIT_SCOPES:-}" ] || stop 'JIT_SCOPES is not set; run this through azd'
[ -n "${JIT_SCOPE_RIGHTS:-}" ] || stop 'JIT_SCOPE_RIGHTS is not set; run azd provision first'

tries=${JIT_RIGHTS_TRIES:-10}
pause_seconds=${JIT_RIGHTS_PAUSE:-15}
guid='[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}'
scope_form="^/subscriptions/$guid(/[rR][eE][sS][oO][uU][rR][cC][eE][gG][rR][oO][uU][pP][sS]/[^/]+(/[pP][rR][oO][vV][iI][dD][eE][rR][sS]/.+)?)?\$"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# Assign one role, id $1, to one identity, object id $2, at one scope, $3.
create() {
    az role assignment create --role "$1" --assignee-object-id "$2" --assignee-principal-type ServicePrincipal \
        --scope "$3" --subscription "$4" --output none 2>"$work/error" </dev/null
}

# A role that was defined moments ago is not known everywhere yet, so only that is tried again.
assign() {
    tried=1
    until create "$@"; do
        if grep -q 'RoleAssignmentExists' "$work/error"; then
            return 0
        fi
        grep -q -i -E 'RoleDefinitionDoesNotExist|PrincipalNotFound|doesn.t exist|does not exist' "$work/error" || return 1
        [ "$tried" -lt "$tries" ] || return 1
        tried=$((tried + 1))
        sleep "$pause_seconds"
    done
}

# List the scopes in $1, one a line.
listed() {
    printf '%s' "$1" | tr -d ' \t\r' | tr ',' '\n' | sed 's#\(.\)/*$#\1#' | sed '/^$/d' | sort -u -f
}

# Assign the rights in $2 at each scope of $1.
assign_at() {
    for scope in $1; do
        subscription=$(printf '%s' "$scope" | cut -d / -f 3)
        for right in $2; do
            role=/subscriptions/$subscription/providers/Microsoft.Authorization/roleDefinitions/${right#*=}
            if assign "$role" "${right%%=*}" "$scope" "$subscription"; then
                say "${right%%=*} holds role ${right#*=} at $scope"
            else
                say "role ${right#*=} could not be assigned to ${right%%=*} at $scope:" >&2
                cat "$work/error" >&2
                failed=yes
            fi
        done
    done
}

scopes=$(listed "$JIT_SCOPES")
hubs=$(listed "${JIT_FIREWALL_SCOPES:-}")
firewalls=$(listed "${JIT_FIREWALL_CLASSIC_SCOPES:-}")
[ -n "$scopes" ] || stop 'JIT_SCOPES names no scope'
for scope in $scopes $hubs $firewalls; do
    printf '%s\n' "$scope" | grep -q -E "$scope_form" || stop "$scope is not a subscription, resource group or resource id"
done

failed=no
assign_at "$scopes" "$JIT_SCOPE_RIGHTS ${JIT_FIREWALL_READS:-} ${JIT_BASTION_RIGHTS:-}"
assign_at "$hubs" "${JIT_FIREWALL_READS:-} ${JIT_FIREWALL_RIGHTS:-}"
assign_at "$firewalls" "${JIT_FIREWALL_READS:-} ${JIT_FIREWALL_CLASSIC_RIGHTS:-}"
[ "$failed" = no ] || stop 'the app cannot close where its role is missing: give yourself roleAssignments/write there and run azd provision again'
