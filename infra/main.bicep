// Just-in-time VM access: everything the app needs in one subscription.
// What each part creates and which rights it takes: docs/deploy.md and docs/permissions.md.
targetScope = 'subscription'

@description('Name of the azd environment; part of the resource group\'s name and of every tag.')
@minLength(1)
@maxLength(24)
param environmentName string

@description('Region of every resource. Flex Consumption and Python 3.13 must be available there.')
@minLength(1)
@metadata({
  azd: {
    type: 'location'
  }
})
param location string

@description('Object id of the deploying user, who becomes Jit.Admin of the app and nothing else. Empty: no user does.')
param principalId string = ''

@description('Where the app may open ports: subscriptions or resource groups, comma separated, e.g. /subscriptions/{guid}/resourceGroups/app-rg. The postprovision hook gives the two ARM identities their roles exactly there, and every VM must lie there.')
@minLength(51)
param scopes string

@description('AWS accounts as a JSON list: connector, role, regions, attach. Empty: no instance of EC2 is known.')
param awsAccounts string = ''

@description('Audience of the network identity\'s token for AWS. Empty: its own client id.')
param awsAudience string = ''

@description('Where Azure Firewalls, their policies and networks are read beside scopes, and policies written: the hub. Same form as scopes. Empty, and no classic scopes: no Azure Firewall is looked for.')
param firewallScopes string = ''

@description('Azure Firewalls whose classic rules the app may write, by id. That is power over the whole firewall.')
param firewallClassicScopes string = ''

@description('First and last mapped port on a firewall: what callers connect to.')
param firewallPorts string = '20000-29999'

@description('Priority of the app\'s rule collection group in a firewall policy.')
@minValue(100)
@maxValue(65000)
param firewallGroupPriority int = 150

@description('What becomes of that group when no grant is left: delete, or keep it empty.')
@allowed(['delete', 'keep'])
param firewallEmptyGroup string = 'delete'

@description('One mapped port for all grants of a port of a VM. Whether Azure takes that is not known.')
param firewallSharePorts bool = false

@description('Public address of a firewall that is the entry where it has several. Empty: the first.')
param firewallPublicAddress string = ''

@description('How long after a write a firewall is read again (ISO 8601).')
param firewallPoll string = 'PT10S'

@description('Shortest access behind an Azure Firewall (ISO 8601): a write takes minutes.')
param firewallMinDuration string = 'PT15M'

@description('Name of the resource group to create. Empty: rg-jit-{environmentName}.')
param resourceGroupName string = ''

@description('Mark of this installation in every rule name: 4 to 16 of a-z and 0-9, first a letter. Never change it while rules are live: rules with another mark are not ours. Empty: derived from subscription and environment name, so that it survives redeployment.')
@maxLength(16)
param deploymentId string = ''

@description('auto: several changes to an NSG in one guarded write, once the app has proven that the service honours the guard. rules: child rules only, with a narrower role.')
@allowed(['auto', 'rules'])
param nsgWrite string = 'auto'

@description('Beginning of every rule name. The default is Defender\'s own, which scripts look for.')
@maxLength(28)
param rulePrefix string = 'SecurityCenter-JITRule'

@description('First priority for allow rules. Whatever lies below it outranks the app.')
@minValue(100)
@maxValue(989)
param allowFrom int = 200

@description('Shortest access anybody can ask for (ISO 8601).')
param minDuration string = 'PT5M'

@description('Ceiling that no policy exceeds (ISO 8601, at most P1D).')
param maxDuration string = 'P1D'

@description('Widest IPv4 source that no policy exceeds, as a prefix length.')
@minValue(8)
@maxValue(32)
param widestIpv4 int = 24

@description('Widest IPv6 source that no policy exceeds, as a prefix length.')
@minValue(16)
@maxValue(128)
param widestIpv6 int = 48

@description('Ports that one caller may have open or waiting.')
@minValue(1)
@maxValue(800)
param maxOpenPerCaller int = 100

@description('Seconds for which a process of the app answers GET /api/machines from what it has read.')
@minValue(0)
@maxValue(300)
param machinesCacheSeconds int = 30

@description('Calls that one caller may make in a minute.')
@minValue(10)
@maxValue(10000)
param callsPerMinute int = 120

@description('Days after which the app purges activity: 0 for never, else 30 or more.')
@minValue(0)
@maxValue(3650)
param activityDays int = 365

@description('Days after which the app purges requests that have ended: 0 for never, else 8 or more.')
@minValue(0)
@maxValue(3650)
param requestDays int = 90

@description('Export audit events to files that the app cannot change, in a storage account of their own.')
param auditExport bool = true

@description('Days after its last append during which a file of the audit record cannot be changed or deleted.')
@minValue(1)
@maxValue(146000)
param auditImmutableDays int = 365

@description('Write the immutability policy of the audit record. Set it to false once you have locked the policy.')
param auditWritePolicy bool = true

@description('Where notifications are posted: a webhook, the endpoint of an Event Grid topic, or the trigger of a Logic App. Empty: none are sent.')
param eventsUrl string = ''

@description('Deploy the sample workflow that posts notifications in a channel of Teams or Slack. It takes the place of eventsUrl where that is empty.')
@allowed(['none', 'teams', 'slack'])
param notificationChannel string = 'none'

@description('Id of the channel of notifications in Teams, in the team teamsGroupId; or its name in Slack.')
param notificationTarget string = ''

@description('Types of notifications that the sample workflow posts.')
param notificationTypes array = [
  'jit.approvalNeeded'
  'jit.breakGlass'
  'jit.closingSoon'
  'jit.exposed'
  'jit.failed'
  'jit.policyChanged'
  'jit.revoked'
]

@description('Minutes before its end at which an access is notified as closing soon. 0: not at all.')
@minValue(0)
@maxValue(1440)
param closingSoonMinutes int = 15

@description('Disconnect the requestor\'s live Bastion sessions on the VM after a close. Unproven on live Azure. It makes and assigns a role for that.')
param disconnectBastionSessions bool = false

@description('The URI of the Key Vault secret that signs notifications to a webhook. Empty for an Event Grid topic.')
param eventsKeySecretUri string = ''

@description('Proxies of yours in front of the app that append to X-Forwarded-For.')
@minValue(0)
@maxValue(5)
param trustedProxies int = 0

@description('Address, scheme and all, under which callers reach the app through a proxy of yours. Empty: the app\'s own.')
param publicUrl string = ''

@description('The client id of the public app registration with which the page signs people in; empty: the page is not set up, unless createPageRegistration is true.')
param pageClientId string = ''

@description('Create the registration of the page, and allow it on the app\'s own. With createAppRegistration only.')
param createPageRegistration bool = false

@description('Address ranges of those proxies, such as 203.0.113.7/32. Only they reach the app then; the workflows and the availability test have to go through them too. Empty: everybody does.')
param proxyAddresses array = []

@description('Subnet that the app calls out from: delegated to Microsoft.App/environments, for this app alone. Empty: no virtual network.')
param subnetId string = ''

@description('Subnet of the private endpoints. Empty: none is made.')
param endpointSubnetId string = ''

@description('What gets private endpoints: the storage accounts, or the app as well.')
@allowed(['none', 'storage', 'all'])
param privateEndpoints string = 'none'

@description('What public endpoints answer: all, the app alone, or none. The storage accounts close only with private endpoints and a subnet to call from, the app only with one of its own.')
@allowed(['all', 'app', 'none'])
param publicAccess string = 'all'

@description('Address ranges and service tags that may call the app, comma separated, such as 203.0.113.0/24,ApplicationInsightsAvailability. Empty: everybody, or the proxies where they are named.')
param callerAddresses string = ''

@description('Address ranges that may deploy the package, comma separated. Empty: everybody with the right.')
param scmAddresses string = ''

@description('Memory of one instance in MB.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@description('Most instances of one function. More instances do not open rules faster: an NSG takes one write at a time.')
@minValue(40)
@maxValue(1000)
param maximumInstanceCount int = 40

@description('Calls that one instance handles at once. The platform\'s default for Python is 1.')
@minValue(1)
@maxValue(100)
param httpConcurrency int = 16

@description('HTTP instances that never go cold. 0 saves money and costs the first caller a cold start.')
@minValue(0)
@maxValue(20)
param alwaysReadyHttp int = 1

@description('Instances kept ready for the sweep, which runs every minute anyway.')
@minValue(0)
@maxValue(20)
param alwaysReadySweep int = 1

@description('Redundancy of the storage account. Where a region has no zones, take Standard_LRS: the sweep needs this account to close.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GZRS'])
param storageSku string = 'Standard_ZRS'

@description('Days that logs are kept.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 90

@description('Mail address that alerts go to. Empty: alerts fire without telling anybody.')
param alertEmail string = ''

@description('How many identities read VMs and write rules: ARM counts calls for each of them. docs/limits.md has the formula.')
@minValue(1)
@maxValue(4)
param networkIdentities int = 1

@description('Make an identity that reads for GET /api/machines, so that reports take nothing from the quota of ARM that opening and closing need. It gets the reader role and writes nothing.')
param readerIdentity bool = false

@description('Deploy the independent closer, which removes our overdue allow rules from NSGs without the app.')
param closer bool = true

@description('Minutes past its end after which the closer removes an allow rule. The app closes within seconds.')
@minValue(5)
@maxValue(1440)
param closerGrace int = 15

@description('Send the activity log of this subscription to the workspace; the alert on foreign changes reads it.')
param collectActivityLog bool = true

@description('How the approval workflow asks: by mail, in Teams, or not at all (people approve through the API).')
@allowed(['none', 'outlook', 'teams'])
param approvalChannel string = 'none'

@description('Mailbox or group that is asked to approve (approvalChannel outlook).')
param approverMail string = ''

@description('Object id of the team that is asked to approve (approvalChannel teams).')
param teamsGroupId string = ''

@description('Id of the channel that is asked to approve (approvalChannel teams).')
param teamsChannelId string = ''

@description('Deploy the sample workflow that collects an approval first and then asks on behalf of the person.')
param deployFrontDoor bool = false

@description('Create the Entra app registration. false: name an existing one in appClientId and appIdUri.')
param createAppRegistration bool = true

@description('Client id of an existing app registration (createAppRegistration false).')
param appClientId string = ''

@description('Application id URI of an existing app registration (createAppRegistration false).')
param appIdUri string = ''

@description('Clients that get a token without consent. The default is Azure CLI and Azure PowerShell.')
param preAuthorizedClients array = ['04b07795-8ddb-461a-bbee-02f9e1bf7b46', '1950a258-227b-4e31-a9cf-717495945fc2']

@description('Client ids of further applications and workflow identities that call the API, comma separated. Platform authentication refuses every other client with a bare 403.')
param allowedClients string = ''

@description('Put platform authentication in front of the app. The app verifies every token itself, with or without it.')
param platformAuthentication bool = true

@description('Assign Jit.Admin to principalId and Jit.Relay to the relay identity. false: an administrator of the tenant assigns them.')
param assignAppRoles bool = true

@description('Fire the alerts on silence: no sweep, no answer from outside. azd passes false until its postdeploy hook has seen the first sweep, because no code is deployed before.')
param watchSilence bool = true

var token = toLower(uniqueString(subscription().id, environmentName))
var mark = empty(deploymentId) ? 'j${take(token, 11)}' : deploymentId
var groupName = empty(resourceGroupName) ? 'rg-jit-${environmentName}' : resourceGroupName
var functionAppName = 'func-jit-${token}'
var tags = {
  'azd-env-name': environmentName
  'jit-deployment': mark
}
var scopeList = split(replace(scopes, ' ', ''), ',')
// In lower case, because union() compares letters, and ARM refuses a subscription that is named twice.
var scopeSubscriptions = [for scope in scopeList: empty(scope) ? toLower(subscription().id) : toLower('/subscriptions/${split(scope, '/')[2]}')]
var firewallList = empty(firewallScopes) ? [] : split(replace(firewallScopes, ' ', ''), ',')
var classicList = empty(firewallClassicScopes) ? [] : split(replace(firewallClassicScopes, ' ', ''), ',')
var firewallSubscriptions = [for scope in concat(firewallList, classicList): empty(scope) ? toLower(subscription().id) : toLower('/subscriptions/${split(scope, '/')[2]}')]
var readsFirewalls = !empty(firewallSubscriptions)
var callerList = empty(callerAddresses) ? [] : split(replace(callerAddresses, ' ', ''), ',')
var scmList = empty(scmAddresses) ? [] : split(replace(scmAddresses, ' ', ''), ',')
var hasEndpoints = privateEndpoints != 'none' && !empty(endpointSubnetId)
// Never closed without another way in: the app could not close then. private.sh stops with an error.
var isStoragePrivate = publicAccess != 'all' && hasEndpoints && !empty(subnetId)
var isAppPrivate = publicAccess == 'none' && isStoragePrivate && privateEndpoints == 'all'
var moreClients = empty(allowedClients) ? [] : split(replace(allowedClients, ' ', ''), ',')
var networkPrincipalIds = concat([identities.outputs.networkPrincipalId], identities.outputs.moreNetworkPrincipalIds)
var networkRoleName = nsgWrite == 'rules' ? roles.outputs.networkRulesRoleName : roles.outputs.networkRoleName
var readerPrincipalIds = identities.outputs.readerPrincipalIds
var readerRight = empty(readerPrincipalIds) ? '' : ' ${join(readerPrincipalIds, '')}=${roles.outputs.readerRoleName}'
var firewallReaderIds = concat(networkPrincipalIds, readerPrincipalIds)
var closerRight = closer ? ' ${identities.outputs.closerPrincipalId}=${roles.outputs.closerRoleName}' : ''
var clientId = createAppRegistration ? appRegistration.outputs.clientId : appClientId
var idUri = createAppRegistration ? appRegistration.outputs.idUri : appIdUri
var apiUrl = 'https://${functionAppName}.azurewebsites.net'
var pageUrl = '${empty(publicUrl) ? apiUrl : publicUrl}/ui/'
var createsPage = createAppRegistration && createPageRegistration
var pageClients = createsPage ? [pageRegistration.outputs.clientId] : empty(pageClientId) ? [] : [pageClientId]
var pageAddress = empty(pageClients) ? '' : pageUrl

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: groupName
  location: location
  tags: tags
}

module identities 'modules/identities.bicep' = {
  name: 'jit-identities'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    networkIdentities: networkIdentities
    readerIdentity: readerIdentity
  }
}

module pageRegistration 'page-registration.bicep' = if (createsPage) {
  name: 'jit-page-registration'
  scope: group
  params: {
    displayName: 'JIT VM access, page (${environmentName})'
    uniqueName: 'jit-vm-access-page-${mark}'
    redirectUri: pageUrl
  }
}

module appRegistration 'app-registration.bicep' = if (createAppRegistration) {
  name: 'jit-app-registration'
  scope: group
  params: {
    displayName: 'JIT VM access (${environmentName})'
    uniqueName: 'jit-vm-access-${mark}'
    idUri: 'api://${tenant().tenantId}/jit-${mark}'
    preAuthorizedClients: concat(preAuthorizedClients, pageClients)
  }
}

module roles 'modules/roles.bicep' = {
  name: 'jit-roles-${mark}'
  params: {
    mark: mark
    assignableScopes: union([toLower(subscription().id)], scopeSubscriptions)
  }
}

module firewallRoles 'modules/roles-firewall.bicep' = if (readsFirewalls) {
  name: 'jit-roles-firewall-${mark}'
  params: {
    mark: mark
    assignableScopes: union([toLower(subscription().id)], scopeSubscriptions, firewallSubscriptions)
  }
}

module bastionRole 'modules/roles-bastion.bicep' = if (disconnectBastionSessions) {
  name: 'jit-roles-bastion-${mark}'
  params: {
    mark: mark
    assignableScopes: union([toLower(subscription().id)], scopeSubscriptions)
  }
}

module probe 'modules/probe.bicep' = if (nsgWrite == 'auto') {
  name: 'jit-probe'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    networkPrincipalIds: networkPrincipalIds
    networkRoleName: roles.outputs.networkRoleName
  }
}

module storage 'modules/storage.bicep' = {
  name: 'jit-storage'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    sku: storageSku
    isPrivate: isStoragePrivate
    hostPrincipalId: identities.outputs.hostPrincipalId
  }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'jit-monitoring'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    retentionDays: logRetentionDays
    hostPrincipalId: identities.outputs.hostPrincipalId
  }
}

module approval 'modules/approval.bicep' = {
  name: 'jit-approval'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    channel: approvalChannel
    approverMail: approverMail
    teamsGroupId: teamsGroupId
    teamsChannelId: teamsChannelId
    deployFrontDoor: deployFrontDoor
    apiUrl: apiUrl
    pageUrl: pageAddress
    clientId: clientId
    idUri: idUri
    hostPrincipalId: identities.outputs.hostPrincipalId
    relayIdentityId: identities.outputs.relayIdentityId
    workspaceId: monitoring.outputs.workspaceId
  }
}

module notifications 'modules/notifications.bicep' = if (notificationChannel != 'none') {
  name: 'jit-notifications'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    channel: notificationChannel
    teamsGroupId: teamsGroupId
    target: notificationTarget
    types: notificationTypes
    pageUrl: pageAddress
    clientId: clientId
    hostPrincipalId: identities.outputs.hostPrincipalId
    workspaceId: monitoring.outputs.workspaceId
  }
}

module app 'modules/app.bicep' = {
  name: 'jit-app'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    name: functionAppName
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    httpConcurrency: httpConcurrency
    alwaysReadyHttp: alwaysReadyHttp
    alwaysReadySweep: alwaysReadySweep
    hostIdentityId: identities.outputs.hostIdentityId
    hostClientId: identities.outputs.hostClientId
    networkIdentityId: identities.outputs.networkIdentityId
    networkClientId: identities.outputs.networkClientId
    moreNetworkIdentityIds: identities.outputs.moreNetworkIdentityIds
    moreNetworkClientIds: identities.outputs.moreNetworkClientIds
    readerIdentityIds: identities.outputs.readerIdentityIds
    readerClientIds: identities.outputs.readerClientIds
    authorizerIdentityId: identities.outputs.authorizerIdentityId
    authorizerClientId: identities.outputs.authorizerClientId
    blobEndpoint: storage.outputs.blobEndpoint
    queueEndpoint: storage.outputs.queueEndpoint
    tableEndpoint: storage.outputs.tableEndpoint
    packageUrl: package.outputs.containerUrl
    deployerIdentityId: identities.outputs.deployerIdentityId
    insightsConnection: monitoring.outputs.insightsConnection
    clientId: clientId
    idUri: idUri
    platformAuthentication: platformAuthentication
    allowedClients: union([clientId, identities.outputs.relayClientId], preAuthorizedClients, pageClients, moreClients)
    mark: mark
    scopes: join(scopeList, ',')
    nsgWrite: nsgWrite
    probeNsg: nsgWrite == 'auto' ? probe.outputs.nsgId : ''
    rulePrefix: rulePrefix
    allowFrom: allowFrom
    minDuration: minDuration
    maxDuration: maxDuration
    widestIpv4: widestIpv4
    widestIpv6: widestIpv6
    maxOpenPerCaller: maxOpenPerCaller
    awsAccounts: awsAccounts
    awsAudience: awsAudience
    firewallScopes: join(firewallList, ',')
    firewallClassicScopes: join(classicList, ',')
    firewallPorts: firewallPorts
    firewallGroupPriority: firewallGroupPriority
    firewallEmptyGroup: firewallEmptyGroup
    firewallSharePorts: firewallSharePorts
    firewallPublicAddress: firewallPublicAddress
    firewallPoll: firewallPoll
    firewallMinDuration: firewallMinDuration
    machinesCacheSeconds: machinesCacheSeconds
    callsPerMinute: callsPerMinute
    activityDays: activityDays
    requestDays: requestDays
    auditContainer: auditExport ? audit.outputs.containerUrl : ''
    eventsUrl: empty(eventsUrl) && notificationChannel != 'none' ? notifications.outputs.triggerUrl : eventsUrl
    closingSoonMinutes: closingSoonMinutes
    disconnectBastionSessions: disconnectBastionSessions
    eventsKeySecretUri: eventsKeySecretUri
    trustedProxies: trustedProxies
    publicUrl: publicUrl
    pageClientId: join(pageClients, '')
    proxyAddresses: proxyAddresses
    callerAddresses: callerList
    scmAddresses: scmList
    subnetId: subnetId
    isPrivate: isAppPrivate
    logicAppUrl: approval.outputs.triggerUrl
  }
}

// Nothing waits for this module. Graph refuses an assignment to an identity that it does not know
// yet, and such a refusal must not stop the app (docs/deploy.md, "The second run").
module appRoles 'app-role-assignments.bicep' = if (createAppRegistration && assignAppRoles) {
  name: 'jit-app-roles'
  scope: group
  params: {
    uniqueName: 'jit-vm-access-${mark}'
    servicePrincipalId: createAppRegistration ? appRegistration.outputs.principalId : ''
    adminPrincipalId: principalId
    relayPrincipalId: identities.outputs.relayPrincipalId
  }
  dependsOn: [
    app
  ]
}

module activityLog 'modules/activity-log.bicep' = if (collectActivityLog) {
  name: 'jit-activity-log-${mark}'
  params: {
    name: 'jit-${mark}'
    workspaceId: monitoring.outputs.workspaceId
  }
}

module alerts 'modules/alerts.bicep' = {
  name: 'jit-alerts'
  scope: group
  params: {
    location: location
    tags: tags
    mark: mark
    email: alertEmail
    watchHealth: !isAppPrivate
    watchSilence: watchSilence
    workspaceId: monitoring.outputs.workspaceId
    hostPrincipalId: identities.outputs.hostPrincipalId
    networkPrincipalIds: networkPrincipalIds
    closerPrincipalId: identities.outputs.closerPrincipalId
  }
}

module package 'modules/package.bicep' = {
  name: 'jit-package'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    mark: mark
    sku: storageSku
    isPrivate: isStoragePrivate
    deployerPrincipalId: identities.outputs.deployerPrincipalId
    workspaceId: monitoring.outputs.workspaceId
    actionGroupId: alerts.outputs.actionGroupId
  }
}

module audit 'modules/audit.bicep' = if (auditExport) {
  name: 'jit-audit'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    mark: mark
    sku: storageSku
    isPrivate: isStoragePrivate
    days: auditImmutableDays
    writePolicy: auditWritePolicy
    watchSilence: watchSilence
    hostPrincipalId: identities.outputs.hostPrincipalId
    workspaceId: monitoring.outputs.workspaceId
    actionGroupId: alerts.outputs.actionGroupId
  }
}

module independentCloser 'modules/closer.bicep' = if (closer) {
  name: 'jit-closer'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    mark: mark
    scopes: split(replace('${replace(scopes, ' ', '')},', '/,', ','), ',')
    graceMinutes: closerGrace
    identityId: identities.outputs.closerIdentityId
    principalId: identities.outputs.closerPrincipalId
    workspaceId: monitoring.outputs.workspaceId
    actionGroupId: alerts.outputs.actionGroupId
  }
}

// azd keeps these in its environment; the hooks and docs/operations.md use them.
output AZURE_LOCATION string = location
output AZURE_TENANT_ID string = tenant().tenantId
output AZURE_RESOURCE_GROUP string = group.name
output AZURE_FUNCTION_NAME string = app.outputs.name
output JIT_API_URL string = app.outputs.url
output JIT_API_AUDIENCE string = idUri
output JIT_API_CLIENT_ID string = clientId
output JIT_DEPLOYMENT_ID string = mark
output JIT_PACKAGE_ACCOUNT string = package.outputs.accountName
output JIT_AUDIT_ACCOUNT string = auditExport ? audit.outputs.accountName : ''
output JIT_STORAGE_IS_PRIVATE bool = isStoragePrivate
output JIT_APP_IS_PRIVATE bool = isAppPrivate
output JIT_SCOPES string = join(scopeList, ',')
// One identity and its role a word. No module is deployed into a scope: `azd down` before 1.24.1 deletes
// every resource group that its deployment wrote to.
output JIT_SCOPE_RIGHTS string = '${join(networkPrincipalIds, '=${networkRoleName} ')}=${networkRoleName} ${identities.outputs.authorizerPrincipalId}=${roles.outputs.authorizerRoleName}${readerRight}${closerRight}'
output JIT_BASTION_RIGHTS string = disconnectBastionSessions ? '${join(networkPrincipalIds, '=${bastionRole.outputs.roleName} ')}=${bastionRole.outputs.roleName}' : ''
output JIT_FIREWALL_SCOPES string = join(firewallList, ',')
output JIT_FIREWALL_CLASSIC_SCOPES string = join(classicList, ',')
output JIT_FIREWALL_READS string = readsFirewalls ? '${join(firewallReaderIds, '=${firewallRoles.outputs.readerRoleName} ')}=${firewallRoles.outputs.readerRoleName}' : ''
output JIT_FIREWALL_RIGHTS string = readsFirewalls ? '${join(networkPrincipalIds, '=${firewallRoles.outputs.policyRoleName} ')}=${firewallRoles.outputs.policyRoleName}' : ''
output JIT_FIREWALL_CLASSIC_RIGHTS string = readsFirewalls ? '${join(networkPrincipalIds, '=${firewallRoles.outputs.classicRoleName} ')}=${firewallRoles.outputs.classicRoleName}' : ''
output JIT_WATCH_SILENCE string = watchSilence ? 'true' : 'false'
output JIT_STORAGE_ACCOUNT string = storage.outputs.accountName
output JIT_WORKSPACE_ID string = monitoring.outputs.workspaceId
output JIT_INSIGHTS_ID string = monitoring.outputs.insightsId
output JIT_CLOSER_WORKFLOW string = closer ? independentCloser.outputs.workflowName : ''
output JIT_APPROVAL_WORKFLOW string = approval.outputs.workflowName
output JIT_REQUESTOR_ROLE string = roles.outputs.requestorRoleName
output JIT_APPROVER_ROLE string = roles.outputs.approverRoleName
output JIT_POLICY_ADMIN_ROLE string = roles.outputs.policyAdminRoleName
output JIT_AUDITOR_ROLE string = roles.outputs.auditorRoleName
