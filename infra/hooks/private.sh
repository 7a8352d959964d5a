#!/bin/sh
# Run by postprovision.sh: deploys infra/extras/private.json where private endpoints are asked for, and
# stops where a public endpoint was to be closed and stays open, because the app would lose its way.
set -eu
# Git Bash on Windows would take an id that begins with / for a path.
export MSYS_NO_PATHCONV=1

say() { printf 'private: %s\n' "$*"; }
stop() { say "$*" >&2; exit 1; }

endpoints=${JIT_PRIVATE_ENDPOINTS:-none}
access=${JIT_PUBLIC_ACCESS:-all}

if [ "$endpoints" != none ]; then
    [ -n "${JIT_ENDPOINT_SUBNET_ID:-}" ] || stop 'JIT_ENDPOINT_SUBNET_ID is not set: private endpoints need a subnet'
    app=
    [ "$endpoints" != all ] || app=$AZURE_FUNCTION_NAME
    az deployment group create \
        --subscription "$AZURE_SUBSCRIPTION_ID" \
        --resource-group "$AZURE_RESOURCE_GROUP" \
        --name jit-private \
        --template-file infra/extras/private.json \
        --parameters location="$AZURE_LOCATION" mark="$JIT_DEPLOYMENT_ID" \
            endpointSubnetId="$JIT_ENDPOINT_SUBNET_ID" subnetId="${JIT_SUBNET_ID:-}" \
            storageAccount="$JIT_STORAGE_ACCOUNT" packageAccount="$JIT_PACKAGE_ACCOUNT" \
            auditAccount="${JIT_AUDIT_ACCOUNT:-}" functionAppName="$app" \
            zonesGroupId="${JIT_DNS_ZONES_GROUP_ID:-}" \
        --output none
    say "private endpoints for $endpoints are there"
fi

[ "$access" = all ] || [ "${JIT_STORAGE_IS_PRIVATE:-false}" = true ] \
    || stop 'the storage accounts stay public: JIT_PUBLIC_ACCESS needs JIT_SUBNET_ID, JIT_ENDPOINT_SUBNET_ID and JIT_PRIVATE_ENDPOINTS (docs/private.md)'
[ "$access" != none ] || [ "${JIT_APP_IS_PRIVATE:-false}" = true ] \
    || stop 'the app stays public: JIT_PUBLIC_ACCESS=none needs JIT_PRIVATE_ENDPOINTS=all (docs/private.md)'
