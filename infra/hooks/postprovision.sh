#!/bin/sh
# Run by azd after provisioning: assigns the roles at JIT_SCOPES, deploys infra/extras and says what
# is left for a person to do.
# Needs the Azure CLI, signed in; azd gives the outputs of main.bicep as environment variables.
set -eu
# Git Bash on Windows would take an id that begins with / for a path.
export MSYS_NO_PATHCONV=1
cd "$(dirname "$0")/../.."

need() {
    eval "value=\${$1:-}"
    [ -n "$value" ] || { printf 'postprovision: %s is not set; run this through azd\n' "$1" >&2; exit 1; }
}
for name in AZURE_SUBSCRIPTION_ID AZURE_RESOURCE_GROUP AZURE_LOCATION AZURE_FUNCTION_NAME JIT_API_URL JIT_API_AUDIENCE \
    JIT_DEPLOYMENT_ID JIT_SCOPES JIT_SCOPE_RIGHTS JIT_STORAGE_ACCOUNT JIT_PACKAGE_ACCOUNT JIT_WORKSPACE_ID JIT_INSIGHTS_ID; do
    need "$name"
done
command -v az >/dev/null 2>&1 || { echo 'postprovision: the Azure CLI (az) is needed; no role is assigned and infra/extras is not deployed' >&2; exit 1; }

sh infra/hooks/rights.sh
sh infra/hooks/private.sh

# The availability test calls over the Internet, which reaches no private app.
health_test=true
[ "${JIT_APP_IS_PRIVATE:-false}" != true ] || health_test=false

# azd's subscription, whichever one az happens to be set to.
az deployment group create \
    --subscription "$AZURE_SUBSCRIPTION_ID" \
    --resource-group "$AZURE_RESOURCE_GROUP" \
    --name jit-extras \
    --template-file infra/extras/extras.json \
    --parameters location="$AZURE_LOCATION" mark="$JIT_DEPLOYMENT_ID" \
        functionAppName="$AZURE_FUNCTION_NAME" apiUrl="$JIT_API_URL" \
        storageAccount="$JIT_STORAGE_ACCOUNT" workspaceId="$JIT_WORKSPACE_ID" \
        insightsId="$JIT_INSIGHTS_ID" healthTest="$health_test" workbook=@infra/extras/workbook.json \
    --output none

cat <<EOF

Just-in-time VM access is at $JIT_API_URL (installation $JIT_DEPLOYMENT_ID).
  a token for it:   az account get-access-token --resource $JIT_API_AUDIENCE --query accessToken --output tsv
  its verdict:      az rest --skip-authorization-header --method get --url $JIT_API_URL/api/health
EOF
if [ "${JIT_APPROVAL_CHANNEL:-none}" != none ]; then
    cat <<EOF
  left to do:       the approval workflow's connections (con-jit-*) wait for a person to sign in:
                    portal, resource group $AZURE_RESOURCE_GROUP, each connection, Edit API connection, Authorize.
EOF
fi
