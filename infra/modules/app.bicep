// The function app on Flex Consumption, its settings, and platform authentication in front of it.
@description('Region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Unique part of names.')
param token string

@description('Name of the function app; unique in its first 32 characters, from which the host takes its lock names.')
@maxLength(32)
param name string

@description('Memory of one instance in MB.')
param instanceMemoryMB int

@description('Most instances of one function.')
param maximumInstanceCount int

@description('Calls that one instance handles at once.')
param httpConcurrency int

@description('HTTP instances that never go cold.')
param alwaysReadyHttp int

@description('Instances kept ready for the sweep.')
param alwaysReadySweep int

@description('Resource id of the host identity.')
param hostIdentityId string

@description('Client id of the host identity.')
param hostClientId string

@description('Resource id of the network identity.')
param networkIdentityId string

@description('Client id of the network identity.')
param networkClientId string

@description('Resource ids of further network identities, which share the calls to ARM.')
param moreNetworkIdentityIds array

@description('Client ids of the further network identities.')
param moreNetworkClientIds array

@description('Resource id of the identity that reads for reports; empty: the network identity does.')
param readerIdentityIds array

@description('Client id of the identity that reads for reports; empty: the network identity does.')
param readerClientIds array

@description('Resource id of the authorizer identity.')
param authorizerIdentityId string

@description('Client id of the authorizer identity.')
param authorizerClientId string

@description('Blob endpoint of the storage account.')
param blobEndpoint string

@description('Queue endpoint of the storage account.')
param queueEndpoint string

@description('Table endpoint of the storage account.')
param tableEndpoint string

@description('Address of the container that the deployed package lies in.')
param packageUrl string

@description('Resource id of the deployer identity, which reads and writes the package and nothing else.')
param deployerIdentityId string

@description('Where telemetry goes; carries no secret, because local authentication is off.')
param insightsConnection string

@description('Client id of the app registration: the audience of version 2 tokens.')
param clientId string

@description('Application id URI: the audience that callers ask for.')
param idUri string

@description('Put platform authentication in front of the app.')
param platformAuthentication bool

@description('Client ids whose tokens platform authentication lets through.')
param allowedClients array

@description('Mark of this installation in every rule name.')
param mark string

@description('JIT_SCOPES.')
param scopes string

@description('JIT_NSG_WRITE.')
param nsgWrite string

@description('JIT_PROBE_NSG; empty where rules are written one by one.')
param probeNsg string

@description('JIT_RULE_PREFIX.')
param rulePrefix string

@description('JIT_ALLOW_FROM.')
param allowFrom int

@description('JIT_MIN_DURATION.')
param minDuration string

@description('JIT_MAX_DURATION.')
param maxDuration string

@description('JIT_WIDEST_IPV4.')
param widestIpv4 int

@description('JIT_WIDEST_IPV6.')
param widestIpv6 int

@description('JIT_AWS_ACCOUNTS; empty where no instance of EC2 is governed.')
param awsAccounts string

@description('JIT_AWS_AUDIENCE; empty for the network identity\'s client id.')
param awsAudience string

@description('JIT_FIREWALL_SCOPES; empty where no hub is read.')
param firewallScopes string

@description('JIT_FIREWALL_CLASSIC_SCOPES; empty where no classic rules are written.')
param firewallClassicScopes string

@description('JIT_FIREWALL_PORTS.')
param firewallPorts string

@description('JIT_FIREWALL_GROUP_PRIORITY.')
param firewallGroupPriority int

@description('JIT_FIREWALL_EMPTY_GROUP.')
param firewallEmptyGroup string

@description('JIT_FIREWALL_SHARE_PORTS.')
param firewallSharePorts bool

@description('JIT_FIREWALL_PUBLIC_ADDRESS; empty for the first address of a firewall.')
param firewallPublicAddress string

@description('JIT_FIREWALL_POLL.')
param firewallPoll string

@description('JIT_FIREWALL_MIN_DURATION.')
param firewallMinDuration string

@description('JIT_MAX_OPEN_PER_CALLER.')
param maxOpenPerCaller int

@description('JIT_MACHINES_CACHE_SECONDS.')
param machinesCacheSeconds int

@description('JIT_CALLS_PER_MINUTE.')
param callsPerMinute int

@description('JIT_ACTIVITY_DAYS.')
param activityDays int

@description('JIT_REQUEST_DAYS.')
param requestDays int

@description('JIT_AUDIT_CONTAINER; empty where audit events are not exported.')
param auditContainer string

@description('JIT_EVENTS_URL; empty where no notification is sent.')
param eventsUrl string

@description('JIT_CLOSING_SOON_MINUTES.')
param closingSoonMinutes int

@description('JIT_DISCONNECT_BASTION_SESSIONS.')
param disconnectBastionSessions bool

@description('The secret in Key Vault that JIT_EVENTS_KEY refers to; empty for an Event Grid topic.')
param eventsKeySecretUri string

@description('JIT_TRUSTED_PROXIES.')
param trustedProxies int

@description('JIT_PUBLIC_URL; empty where callers use the app\'s own address.')
param publicUrl string

@description('JIT_PAGE_CLIENT_ID; empty where the page is not set up.')
param pageClientId string

@description('Address ranges of those proxies; nothing else reaches the app. Empty: everybody does.')
param proxyAddresses array

@description('Address ranges and service tags that may call the app beside the proxies. Both empty: everybody does.')
param callerAddresses array

@description('Address ranges that may deploy the package. Empty: everybody with the right.')
param scmAddresses array

@description('Subnet that the app calls out from. Empty: no virtual network.')
param subnetId string

@description('Close the public endpoint: only the private one answers then.')
param isPrivate bool

@description('JIT_LOGIC_APP_URL: the trigger that is told of requests that wait for people.')
param logicAppUrl string

var tenantId = tenant().tenantId
var login = environment().authentication.loginEndpoint
var trimmedLogin = endsWith(login, '/') ? substring(login, 0, length(login) - 1) : login
// Health is what the availability test calls, without a token; it tells counts and times only.
// The list of endpoints holds nothing secret, and 'az cloud register' reads it without a token.
var openPaths = ['/', '/ui', '/ui/*', '/api/health', '/metadata/endpoints']
var proxyRules = [for (range, i) in proxyAddresses: {
  name: 'proxy-${i}'
  ipAddress: range
  action: 'Allow'
  priority: 100 + i
}]
// A service tag has no slash.
var callerRules = [for (range, i) in callerAddresses: {
  name: 'caller-${i}'
  ipAddress: range
  tag: contains(range, '/') ? 'Default' : 'ServiceTag'
  action: 'Allow'
  priority: 1000 + i
}]
var isOpen = empty(proxyAddresses) && empty(callerAddresses)
var readyHttp = alwaysReadyHttp > 0 ? [{ name: 'http', instanceCount: alwaysReadyHttp }] : []
var readySweep = alwaysReadySweep > 0 ? [{ name: 'function:sweep_expired', instanceCount: alwaysReadySweep }] : []

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  // checkov:skip=CKV_AZURE_225: zone redundancy of Flex Consumption is not in every region; docs/deploy.md tells how to turn it on
  name: 'plan-jit-${token}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
  }
}

resource site 'Microsoft.Web/sites@2024-04-01' = {
  // checkov:skip=CKV_AZURE_222: callers sit on the internet and bring a token, unless the deployer closes the public endpoint by a parameter
  // checkov:skip=CKV_AZURE_17: callers are people and workflows with Entra tokens, none has a certificate
  // checkov:skip=CKV_AZURE_212: Flex Consumption keeps instances through alwaysReady, which this check does not know
  // checkov:skip=CKV_AZURE_78: Flex Consumption has no FTP, and newer regions refuse a site that names ftpsState at all
  // checkov:skip=CKV_AZURE_213: Flex Consumption replaces instances itself; the availability test calls /api/health from outside
  name: name
  location: location
  tags: union(tags, {
    'azd-service-name': 'api'
  })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: union({
      '${hostIdentityId}': {}
      '${deployerIdentityId}': {}
      '${networkIdentityId}': {}
      '${authorizerIdentityId}': {}
    }, empty(moreNetworkIdentityIds) ? {} : json('{"${join(moreNetworkIdentityIds, '":{},"')}":{}}'), empty(readerIdentityIds) ? {} : json('{"${join(readerIdentityIds, '":{},"')}":{}}'))
  }
  properties: {
    serverFarmId: plan.id
    keyVaultReferenceIdentity: hostIdentityId
    httpsOnly: true
    clientAffinityEnabled: false
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: packageUrl
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: deployerIdentityId
          }
        }
      }
      runtime: {
        name: 'python'
        version: '3.13'
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstanceCount
        alwaysReady: concat(readyHttp, readySweep)
        triggers: {
          http: {
            perInstanceConcurrency: httpConcurrency
          }
        }
      }
    }
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      http20Enabled: true
      ipSecurityRestrictionsDefaultAction: isOpen ? 'Allow' : 'Deny'
      ipSecurityRestrictions: concat(proxyRules, callerRules)
      scmIpSecurityRestrictionsUseMain: false
      scmIpSecurityRestrictionsDefaultAction: empty(scmAddresses) ? 'Allow' : 'Deny'
      scmIpSecurityRestrictions: [for (range, i) in scmAddresses: {
        name: 'scm-${i}'
        ipAddress: range
        action: 'Allow'
        priority: 100 + i
      }]
      appSettings: [
        {
          name: 'AzureWebJobsStorage__blobServiceUri'
          value: blobEndpoint
        }
        {
          name: 'AzureWebJobsStorage__queueServiceUri'
          value: queueEndpoint
        }
        {
          name: 'AzureWebJobsStorage__tableServiceUri'
          value: tableEndpoint
        }
        {
          name: 'AzureWebJobsStorage__credential'
          value: 'managedidentity'
        }
        {
          name: 'AzureWebJobsStorage__clientId'
          value: hostClientId
        }
        {
          name: 'AzureWebJobsDisableHomepage'
          value: 'true'
        }
        {
          name: 'APPLICATIONINSIGHTS_CONNECTION_STRING'
          value: insightsConnection
        }
        {
          name: 'APPLICATIONINSIGHTS_AUTHENTICATION_STRING'
          value: 'ClientId=${hostClientId};Authorization=AAD'
        }
        {
          name: 'PYTHON_THREADPOOL_THREAD_COUNT'
          value: '80'
        }
        {
          name: 'JitStorage__tableServiceUri'
          value: tableEndpoint
        }
        {
          name: 'JitStorage__queueServiceUri'
          value: queueEndpoint
        }
        {
          name: 'JitStorage__credential'
          value: 'managedidentity'
        }
        {
          name: 'JitStorage__clientId'
          value: hostClientId
        }
        {
          name: 'JIT_DEPLOYMENT_ID'
          value: mark
        }
        {
          name: 'JIT_TENANT_ID'
          value: tenantId
        }
        {
          // The first is the one that refusals tell callers to ask for.
          name: 'JIT_AUDIENCE'
          value: '${idUri},${clientId}'
        }
        {
          name: 'JIT_ISSUERS'
          value: '${login}${tenantId}/v2.0,https://sts.windows.net/${tenantId}/'
        }
        {
          name: 'JIT_JWKS_URL'
          value: '${login}${tenantId}/discovery/v2.0/keys'
        }
        {
          name: 'JIT_TOKEN_SCOPE'
          value: 'user_impersonation'
        }
        {
          name: 'JIT_SCOPES'
          value: scopes
        }
        {
          name: 'JIT_ARM_URL'
          value: environment().resourceManager
        }
        {
          name: 'JIT_NETWORK_CLIENT_ID'
          value: networkClientId
        }
        {
          name: 'JIT_NETWORK_CLIENT_IDS'
          value: empty(moreNetworkClientIds) ? '' : '${networkClientId},${join(moreNetworkClientIds, ',')}'
        }
        {
          name: 'JIT_READER_CLIENT_ID'
          value: join(readerClientIds, '')
        }
        {
          name: 'JIT_AUTHORIZER_CLIENT_ID'
          value: authorizerClientId
        }
        {
          name: 'JIT_NSG_WRITE'
          value: nsgWrite
        }
        {
          name: 'JIT_PROBE_NSG'
          value: probeNsg
        }
        {
          name: 'JIT_RULE_PREFIX'
          value: rulePrefix
        }
        {
          name: 'JIT_ALLOW_FROM'
          value: string(allowFrom)
        }
        {
          name: 'JIT_LOGIC_APP_URL'
          value: logicAppUrl
        }
        {
          // A token for our own API: where it leaks, it opens nothing.
          name: 'JIT_LOGIC_APP_AUDIENCE'
          value: idUri
        }
        {
          name: 'JIT_TRUSTED_PROXIES'
          value: string(trustedProxies)
        }
        {
          name: 'JIT_PUBLIC_URL'
          value: publicUrl
        }
        {
          name: 'JIT_PAGE_CLIENT_ID'
          value: pageClientId
        }
        {
          name: 'JIT_PAGE_AUTHORITY'
          value: trimmedLogin
        }
        {
          name: 'JIT_PROXIES_ONLY'
          value: string(!empty(proxyAddresses) && empty(callerAddresses))
        }
        {
          name: 'JIT_MACHINES_CACHE_SECONDS'
          value: string(machinesCacheSeconds)
        }
        {
          name: 'JIT_CALLS_PER_MINUTE'
          value: string(callsPerMinute)
        }
        {
          name: 'JIT_MAX_OPEN_PER_CALLER'
          value: string(maxOpenPerCaller)
        }
        {
          name: 'JIT_AWS_ACCOUNTS'
          value: awsAccounts
        }
        {
          name: 'JIT_AWS_AUDIENCE'
          value: awsAudience
        }
        {
          name: 'JIT_FIREWALL_SCOPES'
          value: firewallScopes
        }
        {
          name: 'JIT_FIREWALL_CLASSIC_SCOPES'
          value: firewallClassicScopes
        }
        {
          name: 'JIT_FIREWALL_PORTS'
          value: firewallPorts
        }
        {
          name: 'JIT_FIREWALL_GROUP_PRIORITY'
          value: string(firewallGroupPriority)
        }
        {
          name: 'JIT_FIREWALL_EMPTY_GROUP'
          value: firewallEmptyGroup
        }
        {
          name: 'JIT_FIREWALL_SHARE_PORTS'
          value: string(firewallSharePorts)
        }
        {
          name: 'JIT_FIREWALL_PUBLIC_ADDRESS'
          value: firewallPublicAddress
        }
        {
          name: 'JIT_FIREWALL_POLL'
          value: firewallPoll
        }
        {
          name: 'JIT_FIREWALL_MIN_DURATION'
          value: firewallMinDuration
        }
        {
          name: 'JIT_ACTIVITY_DAYS'
          value: string(activityDays)
        }
        {
          name: 'JIT_REQUEST_DAYS'
          value: string(requestDays)
        }
        {
          name: 'JIT_AUDIT_CONTAINER'
          value: auditContainer
        }
        {
          name: 'JIT_EVENTS_URL'
          value: eventsUrl
        }
        {
          name: 'JIT_CLOSING_SOON_MINUTES'
          value: string(closingSoonMinutes)
        }
        {
          name: 'JIT_DISCONNECT_BASTION_SESSIONS'
          value: string(disconnectBastionSessions)
        }
        {
          // The platform reads the secret; where it cannot, notifications fail and nothing else does.
          name: 'JIT_EVENTS_KEY'
          value: empty(eventsKeySecretUri) ? '' : '@Microsoft.KeyVault(SecretUri=${eventsKeySecretUri})'
        }
        {
          name: 'JIT_MIN_DURATION'
          value: minDuration
        }
        {
          name: 'JIT_MAX_DURATION'
          value: maxDuration
        }
        {
          name: 'JIT_WIDEST_IPV4'
          value: string(widestIpv4)
        }
        {
          name: 'JIT_WIDEST_IPV6'
          value: string(widestIpv6)
        }
      ]
    }
  }
}

// Defence in depth: the app verifies every token by itself and trusts no header from here.
resource authentication 'Microsoft.Web/sites/config@2024-04-01' = {
  // checkov:skip=CKV_AZURE_13: this config is authsettingsV2; the check is about another one
  // checkov:skip=CKV_AZURE_63: this config is authsettingsV2; the check is about another one
  // checkov:skip=CKV_AZURE_65: this config is authsettingsV2; the check is about another one
  // checkov:skip=CKV_AZURE_66: this config is authsettingsV2; the check is about another one
  // checkov:skip=CKV_AZURE_80: this config is authsettingsV2; the check is about another one
  // checkov:skip=CKV_AZURE_88: this config is authsettingsV2; the check is about another one
  // checkov:skip=CKV_AZURE_222: this config is authsettingsV2; the check is about another one
  parent: site
  name: 'authsettingsV2'
  properties: {
    platform: {
      enabled: platformAuthentication
    }
    globalValidation: {
      requireAuthentication: true
      unauthenticatedClientAction: 'Return401'
      excludedPaths: openPaths
    }
    httpSettings: {
      requireHttps: true
    }
    identityProviders: {
      azureActiveDirectory: {
        enabled: true
        registration: {
          clientId: clientId
          openIdIssuer: '${login}${tenantId}/v2.0'
        }
        validation: {
          allowedAudiences: [
            clientId
            idUri
          ]
          // Without this list the platform stores an empty one, and answers every valid token with 403.
          defaultAuthorizationPolicy: {
            allowedApplications: allowedClients
          }
        }
      }
    }
    login: {
      tokenStore: {
        enabled: false
      }
    }
  }
}

output name string = site.name
output url string = 'https://${site.properties.defaultHostName}'
